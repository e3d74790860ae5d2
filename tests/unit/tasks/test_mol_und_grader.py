from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.assets.task_dir import Task
from harness.spec.errors import GraderFailure, SpecError
from harness.taskkit.scoring.contract import TaskGrader


def row(subset: str, gold: str) -> dict[str, str]:
    return {"id": "1", "query": "?", "task": "mol_und", "subtask": subset, "gt": gold, "meta": "{}"}


@pytest.mark.parametrize(
    ("subset", "gold", "response", "parsed", "score"),
    [
        ("fg_count", "2", '{"output": 2}', True, 1),
        ("fg_count", "2", '{"count": 2}', True, 1),
        ("fg_count", "2", '{"output": "2"}', True, 1),
        ("fg_count", "2", '{"output": 2.0}', True, 1),
        ("fg_count", "2", '{"output": 3}', True, 0.5),
        ("fg_count", "2", '{"output": 1}', True, 0.5),
        ("fg_count", "2", '{"output": 4}', True, 0),
        ("fg_count", "2", '{"output": 400}', True, 0),
        ("fg_count", "0", '{"output": 0}', True, 1),
        ("fg_count", "0", '{"output": 1}', True, 0),
        ("ring_count", "4", '{"output": 3}', True, 0.75),
        ("ring_count", "4", '{"output": -1}', True, 0),
        ("ring_count", "4", '{"output": "four"}', False, 0),
        ("ring_count", "4", '{"output": true}', False, 0),
        ("ring_count", "4", '{"output": 3.5}', False, 0),
        ("ring_count", "4", '{"output": 1e400}', False, 0),
        ("ring_count", "4", '{"answer": 4}', False, 0),
        ("ring_count", "4", "There are 4.", False, 0),
        ("ring_count", "4", '{"output": 1} {"output": 4}', True, 1),
        ("equivalence", "Yes", '{"output": "Yes"}', True, 1),
        ("equivalence", "Yes", '{"output": "yes"}', True, 1),
        ("equivalence", "No", 'They differ. {"output": "No."}', True, 1),
        ("equivalence", "No", '{"output": "Yes"}', True, 0),
        ("equivalence", "No", '{"output": "same"}', False, 0),
        ("equivalence", "No", "No", False, 0),
        ("ring_system_scaffold", "Yes", '```json\n{"output": "Yes"}\n```', True, 1),
        ("ring_system_scaffold", "Yes", '{"output": "Maybe"} {"count": "Yes"}', False, 0),
        ("Murcko_scaffold", "c1ccccc1", '{"output": "c1ccccc1"}', True, 1),
        ("Murcko_scaffold", "c1ccccc1", '{"output": "C1=CC=CC=C1"}', True, 1),
        ("Murcko_scaffold", "c1ccccc1", '{"Output Scaffold": "c1ccccc1"}', True, 1),
        ("Murcko_scaffold", "c1ccccc1", '{"output": "not a molecule"}', True, 0),
        ("Murcko_scaffold", "c1ccccc1", '{"output": ""}', False, 0),
        ("Murcko_scaffold", "c1ccccc1", '{"output": 3}', False, 0),
        ("Murcko_scaffold", "c1ccccc1", "c1ccccc1", False, 0),
        # Bits of C1CCCCC1: centre CC, and with radius 1 and 2 again one each (all atoms alike); of benzene the same number,
        # none shared.
        ("Murcko_scaffold", "c1ccccc1", '{"output": "C1CCCCC1"}', True, 0),
        ("Murcko_scaffold", "C1CCCCC1", '{"output": "' + "C" * 5000 + '"}', True, 0),
    ],
)
def test_answers_are_scored_by_hand_worked_cases(
    mol_und_grader: TaskGrader, subset: str, gold: str, response: str, parsed: bool, score: float
) -> None:
    answer = mol_und_grader.score(row(subset, gold), response, subset)
    assert (answer.parsed, answer.score) == (parsed, pytest.approx(score))


def test_a_similar_scaffold_scores_its_tanimoto_similarity(mol_und_grader: TaskGrader) -> None:
    from rdkit import Chem
    from rdkit.Chem import rdFingerprintGenerator

    answer = mol_und_grader.score(row("Murcko_scaffold", "c1ccncc1"), '{"output": "c1ccccc1"}', "Murcko_scaffold")
    bits = [
        set(rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024).GetFingerprint(Chem.MolFromSmiles(s)).GetOnBits())
        for s in ("c1ccncc1", "c1ccccc1")
    ]
    assert 0 < answer.score < 1
    assert answer.score == pytest.approx(len(bits[0] & bits[1]) / len(bits[0] | bits[1]))


def test_validity_is_a_rate_of_its_own(mol_und_grader: TaskGrader) -> None:
    right, wrong = (
        mol_und_grader.score(row("Murcko_scaffold", "c1ccccc1"), f'{{"output": "{s}"}}', "Murcko_scaffold") for s in ("CCO", "C(")
    )
    assert (right.metrics["valid"], wrong.metrics["valid"]) == (1, 0)
    assert right.parsed and wrong.parsed


@pytest.mark.parametrize(("subset", "gold"), [("fg_count", "some"), ("equivalence", "perhaps"), ("Murcko_scaffold", "C(")])
def test_a_broken_gold_is_a_grader_failure_and_no_score(mol_und_grader: TaskGrader, subset: str, gold: str) -> None:
    with pytest.raises(GraderFailure, match="gold"):
        mol_und_grader.score(row(subset, gold), '{"output": "C"}', subset)


@given(st.sampled_from(["fg_count", "equivalence", "Murcko_scaffold"]), st.text(max_size=60), st.booleans())
def test_no_response_breaks_the_grader(mol_und_grader: TaskGrader, subset: str, text: str, in_json: bool) -> None:
    gold = {"fg_count": "2", "equivalence": "Yes", "Murcko_scaffold": "c1ccccc1"}[subset]
    response = json.dumps({"output": text}) if in_json else text
    assert 0 <= mol_und_grader.score(row(subset, gold), response, subset).score <= 1


@given(st.integers(0, 30), st.integers(-5, 60))
def test_a_count_loses_by_its_relative_error(mol_und_grader: TaskGrader, gold: int, answer: int) -> None:
    scored = mol_und_grader.score(row("fg_count", str(gold)), json.dumps({"output": answer}), "fg_count")
    assert scored.score == pytest.approx(max(0, 1 - abs(answer - gold) / max(1, gold)))
    assert scored.metrics["mae"] == abs(answer - gold)


def test_the_formats_that_agents_are_told_are_the_formats_that_score(mol_und: Task, mol_und_grader: TaskGrader) -> None:
    examples = re.findall(r"`(\{\"output\": .*?\})`", mol_und.dojo.answer_format)
    assert len(examples) == 3
    for example, subset in zip(examples, ("fg_count", "equivalence", "Murcko_scaffold"), strict=True):
        gold = str(json.loads(example)["output"])
        assert mol_und_grader.score(row(subset, gold), f"Well: {example}", subset).score == 1


def test_the_primary_score_is_the_plain_mean_of_the_subsets_present(mol_und_grader: TaskGrader) -> None:
    cases = [("fg_count", "2", 2)] * 3 + [("fg_count", "2", 3)] + [("equivalence", "Yes", "No")] * 2
    triples = []
    for subset, gold, answer in cases:
        one = row(subset, gold)
        triples.append((one, subset, mol_und_grader.score(one, json.dumps({"output": answer}), subset)))
    scores = mol_und_grader.aggregate(triples, "mean_score")
    assert scores.subsets["fg_count"]["count_score"] == pytest.approx(0.875)
    assert scores.subsets["fg_count"]["mae"] == pytest.approx(0.25)
    assert scores.primary.value == pytest.approx((0.875 + 0) / 2)
    assert not mol_und_grader.higher_is_better("mae") and mol_und_grader.higher_is_better("tanimoto")


def test_a_row_of_another_task_fits_no_subset(mol_und_grader: TaskGrader) -> None:
    assert mol_und_grader.subset_of(row("fg_count", "1")) == "fg_count"
    assert mol_und_grader.subset_of({"query": "?", "subset": "ring_count"}) == "ring_count"
    with pytest.raises(SpecError, match="add"):
        mol_und_grader.subset_of(row("add", "1"))


def test_the_majority_answer_of_a_question_type_is_the_best_constant(mol_und_grader: TaskGrader) -> None:
    items = [{"row": row("fg_count", str(n)), "subset": "fg_count"} for n in range(5)]
    answer, scored = mol_und_grader.majority_answer(items)
    # 2 scores 0, 0, 1, 2/3 and 1/2; 3 scores 0, 0, 1/2, 1 and 3/4.
    assert answer == '{"output": 3}' and sum(a.score for a in scored) == pytest.approx(2.25)
