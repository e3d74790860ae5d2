from __future__ import annotations

import importlib.util
import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.assets.task_dir import Task, find_task
from harness.spec.errors import GraderFailure, SpecError
from harness.taskkit.scoring.contract import TaskGrader, load_grader


@pytest.fixture(scope="module")
def task() -> Task:
    return find_task("chemistry/mol_opt")


@pytest.fixture(scope="module")
def grader(task: Task) -> TaskGrader:
    return load_grader(task.path)


def row(subset: str, source: str) -> dict[str, str]:
    return {"query": f"Improve it. Source Molecule: {source}", "task": "mol_opt", "subtask": subset, "gt": "", "meta": "{}"}


@pytest.mark.parametrize(
    ("subset", "source", "response", "parsed", "score"),
    [
        # Solubility by hand: ethanol −0.042, benzene −1.932, and every CH2 costs 0.39·0.742 + 14.03·0.0066.
        ("solubility", "CCO", '{"output": "CO"}', True, 1),
        ("solubility", "CCO", '{"output": "OCCO"}', True, 1),
        ("solubility", "CCO", '{"output": "CCCO"}', True, 0),
        ("solubility", "c1ccccc1", '{"output": "CCO"}', True, 1),
        ("solubility", "CCO", '{"output": "c1ccccc1"}', True, 0),
        ("solubility", "CCO", '{"output": "CCO"}', True, 0),
        ("solubility", "CCO", '{"output": "OCC"}', True, 0),
        ("solubility", "CCO", '{"output": "C(O)C"}', True, 0),
        ("solubility", "CCO", '{"Final Target Molecule": "CO"}', True, 1),
        ("solubility", "CCO", '<think>CCCO?</think>\n```json\n{"output": "CO"}\n```', True, 1),
        ("solubility", "CCO", '{"output": "CO"} {"output": "CCCO"}', True, 0),
        ("solubility", "CCO", '{"output": "*"}', True, 0),
        ("solubility", "CCO", '{"output": "C(("}', True, 0),
        ("solubility", "CCO", '{"output": "CO methanol"}', True, 0),
        ("solubility", "CCO", '{"output": "CO"', False, 0),
        ("solubility", "CCO", '{"answer": "CO"}', False, 0),
        ("solubility", "CCO", '{"output": null}', False, 0),
        ("solubility", "CCO", "CO", False, 0),
        ("solubility", "CCO", "", False, 0),
        # A mixture counts whole: methanol adds weight to ethanol but takes logP away, octane adds both.
        ("solubility", "CCO", '{"output": "CCO.CCCCCCCC"}', True, 0),
        # Penalised logP: benzene 2.095 against cyclooctane (ring of 8: −6.82 for the ring alone) and ethanol (−0.26).
        ("logp", "CCO", '{"output": "c1ccccc1"}', True, 1),
        ("logp", "c1ccccc1", '{"output": "CCO"}', True, 0),
        ("logp", "C1CCCCCCC1", '{"output": "C1CCCCC1"}', True, 1),
        ("logp", "C1CCCCC1", '{"output": "C1CCCCCCC1"}', True, 0),
        ("logp", "C1CCCCC1", '{"output": "C1CCCCCC1"}', True, 0),
        # QED: paracetamol 0.595 (RDKit's and the paper's weights) against benzene 0.443 and ethanol 0.407.
        ("qed", "c1ccccc1", '{"output": "CC(=O)Nc1ccc(O)cc1"}', True, 1),
        ("qed", "CC(=O)Nc1ccc(O)cc1", '{"output": "c1ccccc1"}', True, 0),
        ("qed", "CCO", '{"output": "c1ccccc1"}', True, 1),
        ("qed", "CC(=O)Nc1ccc(O)cc1", '{"output": "Oc1ccc(NC(C)=O)cc1"}', True, 0),
    ],
)
def test_answers_are_scored_by_hand_worked_cases(
    grader: TaskGrader, subset: str, source: str, response: str, parsed: bool, score: float
) -> None:
    answer = grader.score(row(subset, source), response, subset)
    assert (answer.parsed, answer.score) == (parsed, score)


def test_improvement_threshold_and_similarity_are_figures_of_their_own(grader: TaskGrader) -> None:
    far, near, wrong = (
        dict(grader.score(row("solubility", "c1ccccc1"), json.dumps({"output": s}), "solubility").metrics)
        for s in ("CCO", "c1ccccc1O", "C(")
    )
    # −0.0423 − (−1.9323), and −0.0423 is 1.89 above: over the threshold of 0.5, but nothing like benzene.
    assert far["improvement"] == pytest.approx(1.8900065, abs=1e-4)
    assert (far["threshold_rate"], far["similar_success_rate"], far["scaffold_similarity"]) == (1, 0, 0)
    assert near["scaffold_similarity"] == 1 and near["similarity"] > 0.2
    assert wrong == {"valid_rate": 0, "threshold_rate": 0, "similar_success_rate": 0}


@pytest.mark.skipif(importlib.util.find_spec("tdc") is not None, reason="TDC is installed here")
@pytest.mark.parametrize("subset", ["drd", "gsk", "jnk"])
@pytest.mark.parametrize("response", ["", '{"output": "CCO"}', '{"output": "C("}'])
def test_a_missing_oracle_is_a_grader_failure_with_a_remedy_whatever_the_answer(
    grader: TaskGrader, subset: str, response: str
) -> None:
    with pytest.raises(GraderFailure, match="install PyTDC"):
        grader.score(row(subset, "CCO"), response, subset)


@pytest.mark.parametrize("broken", [row("qed", "C("), {**row("qed", "C"), "query": "Improve CCO."}])
def test_a_broken_row_is_a_grader_failure_and_no_score(grader: TaskGrader, broken: dict[str, str]) -> None:
    with pytest.raises(GraderFailure, match="source molecule"):
        grader.score(broken, '{"output": "CCO"}', "qed")


@given(st.sampled_from(["qed", "logp", "solubility"]), st.text(max_size=60), st.booleans())
def test_no_response_breaks_the_grader(grader: TaskGrader, subset: str, text: str, in_json: bool) -> None:
    response = json.dumps({"output": text}) if in_json else text
    assert grader.score(row(subset, "CCO"), response, subset).score in (0, 1)


@given(
    st.sampled_from(["qed", "logp", "solubility"]),
    st.lists(st.sampled_from(["C", "N", "[H]", "[H+]", "[Na+]", ".", "[U]", "=", "#", "1", "c", "(", ")", "[2H]", "O", "[Og]"])),
)
def test_no_odd_molecule_breaks_a_property(grader: TaskGrader, subset: str, parts: list[str]) -> None:
    response = json.dumps({"output": "".join(parts[:12])})
    assert grader.score(row(subset, "CCO"), response, subset).score in (0, 1)


@pytest.mark.parametrize(
    "hostile",
    [
        "{" * 1_000_000,
        '{"output": ' * 200_000,
        '{"output": "' + "C" * 1_000_000 + '"}',
        "\0" * 1_000_000,
        '{"output": "CC\\u0000O"}',
        '{"output": "' + "C(" * 330 + ")" * 330 + '"}',
    ],
)
def test_hostile_answers_score_nothing_and_soon(grader: TaskGrader, hostile: str) -> None:
    start = time.process_time()
    assert grader.score(row("solubility", "CCO"), hostile, "solubility").score == 0
    assert time.process_time() - start < 20


def test_the_format_that_agents_are_told_is_the_format_that_scores(task: Task, grader: TaskGrader) -> None:
    examples = re.findall(r"`(\{\"output\": .*?\})`", task.dojo.answer_format)
    item = row("solubility", "CCCCO")
    assert examples and all(grader.score(item, f"Well: {example}", "solubility").score == 1 for example in examples)


def test_subsets_are_named_by_the_row_and_those_of_other_tasks_refused(grader: TaskGrader) -> None:
    assert grader.subset_of(row("jnk", "C")) == "jnk"
    with pytest.raises(SpecError, match="add"):
        grader.subset_of(row("add", "C"))


def test_a_constant_answer_does_well_and_the_side_figure_tells(grader: TaskGrader) -> None:
    items = [{"row": row("solubility", s), "subset": "solubility"} for s in ("CCO", "CCCCC", "c1ccccc1", "CCN")]
    _, answers = grader.majority_answer(items)
    assert all(a.score == 1 for a in answers)
    assert sum(a.metrics["similar_success_rate"] for a in answers) == 0
