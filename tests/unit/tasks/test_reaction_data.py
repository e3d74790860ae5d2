from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from chemcot_mirror import lines, write_mirror
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from harness.assets.prepare import PreparedTask, prepare_task
from harness.assets.task_dir import Task, find_task
from harness.taskkit.scoring.contract import TaskGrader, load_grader

SUBSETS = ("fs", "retro", "rcr", "nepp", "mechsel")
# What each reaction does to a molecule's formula, worked out by hand: element → change.
BALANCE = {
    "methyl ester formation": {"C": 1, "H": 2},
    "bromination of a primary alcohol": {"O": -1, "H": -1, "Br": 1},
    "oxidation of a secondary alcohol": {"H": -2},
    "reduction of a ketone": {"H": 2},
    "hydrogenation of an alkene": {"H": 2},
    "cyanide substitution of a chloride": {"Cl": -1, "C": 1, "N": 1},
    "reduction of a nitrile": {"H": 4},
    "nitration of a benzene ring": {"H": -1, "N": 1, "O": 2},
}


@pytest.fixture(scope="module")
def task() -> Task:
    return find_task("chemistry/reaction")


@pytest.fixture(scope="module")
def grader(task: Task) -> TaskGrader:
    return load_grader(task.path)


@pytest.fixture(scope="module")
def mini(task: Task) -> PreparedTask:
    """Prepared in the user's cache: the compound table is fetched from the package index once."""
    return prepare_task(task, "mini", Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache" / "dojo"))


def atoms(smiles: str) -> Counter[str]:
    found = Counter(a.GetSymbol() for a in Chem.AddHs(Chem.MolFromSmiles(smiles)).GetAtoms())
    assert CalcMolFormula(Chem.MolFromSmiles(smiles))
    return found


def change(before: str, after: str) -> dict[str, int]:
    difference = atoms(after)
    difference.subtract(atoms(before))
    return {element: count for element, count in difference.items() if count}


@pytest.mark.parametrize("split", ["dev", "hidden", "few_shot"])
def test_every_reaction_balances_by_hand(mini: PreparedTask, split: str) -> None:
    checked = 0
    for item in lines(mini.dir / f"{split}.jsonl"):
        query = item["row"]["query"]
        name = next((n for n in BALANCE if n in query), None)
        if item["subset"] == "fs":
            assert change(query.split()[-1].split(".")[0], item["gold"]) == BALANCE[name]
        elif item["subset"] == "retro":
            assert change(item["gold"], query.split()[-1]) == BALANCE[name]
        elif item["subset"] == "mechsel":
            before, after = query.split("Reaction: ")[1].split(". Choices")[0].split(">>")
            assert change(before, after) == BALANCE[name]
        else:
            continue
        checked += 1
    assert checked >= 6


def test_steps_and_conditions_are_those_of_the_textbook(mini: PreparedTask) -> None:
    items = [*lines(mini.hidden_path), *lines(mini.dev_path)]
    charges = {"methyl ester formation": 1, "reduction of a ketone": -1, "reduction of a nitrile": -1}
    for item in (i for i in items if i["subset"] == "nepp"):
        name = next(n for n in charges if n in item["row"]["query"])
        assert Chem.GetFormalCharge(Chem.MolFromSmiles(item["gold"])) == charges[name]
    by_change: dict[str, set[str]] = {}
    for item in (i for i in items if i["subset"] == "rcr"):
        before, after = item["row"]["query"].split()[-1].split(">>")
        by_change.setdefault(json.dumps(change(before, after), sort_keys=True), set()).add(item["gold"])
    assert by_change[json.dumps({"C": 1, "Cl": -1, "N": 1})] == {"[C-]#N.[Na+]"}
    assert by_change[json.dumps({"H": -2})] == {"O=[Cr](=O)=O"}
    assert by_change[json.dumps({"H": 4})] == {"[AlH4-].[Li+]"}
    assert by_change[json.dumps({"H": 2})] <= {"[BH4-].[Na+]", "[H][H].[Pd]"}


def test_the_oracle_scores_1_and_no_constant_does_well(mini: PreparedTask, grader: TaskGrader) -> None:
    items = lines(mini.hidden_path)
    assert Counter(i["subset"] for i in items) == dict.fromkeys(SUBSETS, 36)
    for item in items:
        assert grader.score(item["row"], json.dumps({"output": item["gold"]}), item["subset"]).score == 1
        assert grader.score(item["row"], item["prompt"], item["subset"]).score == 0
    for subset in SUBSETS:
        group = [i for i in items if i["subset"] == subset]
        assert sum(a.score for a in grader.majority_answer(group)[1]) / len(group) <= 0.26


def test_no_molecule_reacts_or_forms_in_two_of_sources_dev_and_hidden(mini: PreparedTask) -> None:
    def molecules(rows: list[dict]) -> set[str]:
        found = set()
        for row in rows:
            text = row["query"].split(". Choices")[0].split()[-1]
            parts = [text.split(".")[0]] if row["subtask"] == "fs" else text.split(">>")
            found |= {Chem.CanonSmiles(part) for part in parts}
        return found

    dev, hidden = ([i["row"] for i in lines(path)] for path in (mini.dev_path, mini.hidden_path))
    trained = molecules([r for s in mini.sources for r in lines(s.path) if not r["query"].startswith("Name")])
    assert len(molecules(hidden)) > 200 and len(trained) > 1000
    assert not molecules(dev) & molecules(hidden) and not trained & (molecules(dev) | molecules(hidden))


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    golds = {
        "fs": {"Major Product": "CCO", "By Product": "O"},
        "retro": "CCO.CC",
        "rcr": "CO.O",
        "nepp": "CC[O-]",
        "mechsel": "B",
    }

    def rows(subset: str, lengths: range, taught: bool) -> list[dict]:
        found = []
        for n in lengths:
            row = {
                "query": f"Reactants: {'C' * (n + 6 * len(subset))}{'O' if subset in ('fs', 'rcr') else 'N'}.CO, tell me.",
                "gt": golds[subset],
            }
            if taught:
                native = {"fs": "Major Product", "rcr": "condition"}[subset]
                row |= {"gt": "", "struct_cot": {native: "CCO"}}
            found.append(row | ({"gt": json.dumps(row["gt"])} if isinstance(row["gt"], dict) and n % 2 else {}))
        return found

    bench = {s: rows(s, range(8, 14), False) for s in SUBSETS}
    cot = {s: [*rows(s, range(8, 9), True), *rows(s, range(60, 64), True)] for s in ("fs", "rcr")}
    write_mirror(tmp_path / "mirror", "reaction", bench, cot)
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path / "mirror"))
    return tmp_path


def test_full_reads_golds_as_text_and_as_objects(task: Task, grader: TaskGrader, mirror: Path) -> None:
    full = prepare_task(task, "full", mirror / "cache")
    right = {"fs": "OCC", "retro": "CC.OCC", "rcr": "O.CO", "nepp": "[O-]CC", "mechsel": "b"}
    for path in (full.dev_path, full.hidden_path):
        items = lines(path)
        assert Counter(i["subset"] for i in items) == dict.fromkeys(SUBSETS, 3)
        for item in items:
            assert grader.score(item["row"], json.dumps({"output": right[item["subset"]]}), item["subset"]).score == 1


def test_full_shows_examples_of_what_is_taught_and_frees_its_source(task: Task, grader: TaskGrader, mirror: Path) -> None:
    full = prepare_task(task, "full", mirror / "cache")
    shots = lines(full.few_shot_path)
    assert [s["subset"] for s in shots] == ["fs", "rcr"]
    assert all(grader.score(s["row"], s["answer"], s["subset"]).score == 1 for s in shots)
    benchmark = {i["row"]["query"] for p in (full.dev_path, full.hidden_path) for i in lines(p)}
    left = [r["query"] for s in full.sources for r in lines(s.path)]
    assert len(left) >= 8 and not benchmark & set(left)
