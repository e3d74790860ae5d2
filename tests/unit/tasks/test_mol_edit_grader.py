from __future__ import annotations

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
    return find_task("chemistry/mol_edit")


@pytest.fixture(scope="module")
def grader(task: Task) -> TaskGrader:
    return load_grader(task.path)


def row(subset: str, source: str, added: str = "", removed: str = "", before: str = "Input Molecule: ") -> dict[str, str]:
    meta = {"reference": "C"} | ({"added_group": added} if added else {}) | ({"removed_group": removed} if removed else {})
    return {"query": f"Edit it. {before}{source}", "task": "mol_edit", "subtask": subset, "gt": "", "meta": json.dumps(meta)}


ADD = row("add", "CC", added="hydroxyl")
DELETE = row("delete", "OCCO", removed="hydroxyl")
SUB = row("sub", "CCCl", added="amine", removed="halo")


@pytest.mark.parametrize(
    ("item", "response", "parsed", "score"),
    [
        (ADD, '{"output": "CCO"}', True, 1),
        (ADD, '{"output": "OCC"}', True, 1),
        (ADD, '{"Final Target Molecule": "CCO"}', True, 1),
        (ADD, 'Ethanol: ```json\n{"output": "CCO"}\n```', True, 1),
        (ADD, '<think>{"output": "CC"}</think>{"output": "CCO"}', True, 1),
        (ADD, '{"output": "CC"} {"output": "CCO"}', True, 1),
        (ADD, '{"output": "CCO"} {"output": "CC"}', True, 0),
        (ADD, '{"output": "CC"}', True, 0),  # unchanged
        (ADD, '{"output": "OCCO"}', True, 0),  # two more, not one
        (ADD, '{"output": "COC"}', True, 0),  # an ether
        (ADD, '{"output": "CC(=O)O"}', True, 1),  # the acid's OH matches the benchmark's pattern of hydroxyl
        (ADD, '{"output": "c1ccccc1O"}', True, 1),  # another molecule: counts are all that is asked, similarity shows it
        (ADD, '{"output": "C(C"}', True, 0),
        (ADD, '{"output": "CCO ethanol"}', True, 0),  # a name is no part of a SMILES
        (ADD, '{"output": "*O"}', True, 0),
        (ADD, '{"output": ["CCO"]}', False, 0),
        (ADD, '{"output": ""}', False, 0),
        (ADD, '{"output": 1}', False, 0),
        (ADD, '{"answer": "CCO"}', False, 0),
        (ADD, '{"output": "CCO"', False, 0),
        (ADD, "CCO", False, 0),
        (ADD, "", False, 0),
        (DELETE, '{"output": "CCO"}', True, 1),
        (DELETE, '{"output": "CC"}', True, 0),
        (DELETE, '{"output": "OCCO"}', True, 0),
        (DELETE, '{"output": "OCCCO"}', True, 0),
        (SUB, '{"output": "CCN"}', True, 1),
        (SUB, '{"output": "CC"}', True, 0),  # only taken away
        (SUB, '{"output": "NCCCl"}', True, 0),  # only added
        (SUB, '{"output": "CCBr"}', True, 0),
        (SUB, '{"output": "CCN(C)C"}', True, 0),  # a tertiary amine is none for the benchmark
        (row("delete", "CSSC", removed="disulfide"), '{"output": "CS"}', True, 1),
        # Dimethyl disulfide has two sulfides less one disulfide: 1.
        (row("delete", "CSSC", removed="sulfide"), '{"output": "CS"}', True, 1),
        (row("add", "CSSC", added="sulfide"), '{"output": "CSSCSC"}', True, 1),
        (row("add", "c1ccccc1", added="nitro"), '{"output": "O=[N+]([O-])c1ccccc1"}', True, 1),
        (row("add", "CC", added="nitrile"), '{"output": "CC#N"}', True, 1),
        (row("delete", "CC(=O)NC", removed="amide"), '{"output": "CCNC"}', True, 1),
        (row("add", "CC", added="benzene_ring"), '{"output": "CCc1ccccc1"}', True, 1),
        (row("add", "CC", added="Benzene ring"), '{"output": "CCc1ccccc1"}', True, 1),
        (row("sub", "CC=O", added="ketone", removed="aldehyde"), '{"output": "CC(C)=O"}', True, 1),
    ],
)
def test_answers_are_scored_by_hand_worked_cases(
    grader: TaskGrader, item: dict[str, str], response: str, parsed: bool, score: float
) -> None:
    answer = grader.score(item, response, item["subtask"])
    assert (answer.parsed, answer.score) == (parsed, score)


@pytest.mark.parametrize("before", ["Input Molecule: ", "Molecule SMILES: ", "Source Molecule: "])
@pytest.mark.parametrize("after", ["", ", please", " and a group", ". Say how.", "\nReply as {}"])
def test_the_source_is_read_where_the_benchmark_writes_it(grader: TaskGrader, before: str, after: str) -> None:
    item = row("delete", f"OCCO{after}", removed="hydroxyl", before=before)
    assert grader.score(item, '{"output": "CCO"}', "delete").score == 1
    assert grader.score(item, '{"output": "CC"}', "delete").score == 0


def test_an_unrelated_molecule_is_shown_by_its_similarity_and_a_mixture_by_its_rate(grader: TaskGrader) -> None:
    metrics = [
        dict(grader.score(ADD, json.dumps({"output": smiles}), "add").metrics) for smiles in ("CC", "c1ccccc1O", "CC.O", "C(")
    ]
    assert metrics[0] == {"valid_rate": 1, "similarity": 1, "mixture_rate": 0}
    assert metrics[1]["similarity"] == 0 and metrics[2]["mixture_rate"] == 1
    assert metrics[3] == {"valid_rate": 0}
    assert not grader.higher_is_better("mixture_rate")


@pytest.mark.parametrize(
    "broken",
    [
        row("add", "CC", added="unobtainium"),
        row("add", "C(C", added="hydroxyl"),
        row("add", "CC"),
        ADD | {"query": "Edit CC."},
        ADD | {"meta": "?"},
    ],
)
def test_a_broken_row_is_a_grader_failure_and_no_score(grader: TaskGrader, broken: dict[str, str]) -> None:
    with pytest.raises(GraderFailure):
        grader.score(broken, '{"output": "CCO"}', "add")


@given(st.text(max_size=60), st.booleans())
def test_no_response_breaks_the_grader(grader: TaskGrader, text: str, in_json: bool) -> None:
    response = json.dumps({"output": text}) if in_json else text
    assert 0 <= grader.score(ADD, response, "add").score <= 1


@given(st.text(alphabet="CNO()=#1[]@+-.*cn", max_size=20))
def test_no_smiles_like_text_breaks_the_grader(grader: TaskGrader, text: str) -> None:
    assert grader.score(SUB, json.dumps({"output": text}), "sub").score in (0, 1)


@given(st.text(max_size=40).filter(lambda t: "{" not in t and "<" not in t), st.text(max_size=40).filter(lambda t: "{" not in t))
def test_an_answer_is_found_among_any_other_text(grader: TaskGrader, before: str, after: str) -> None:
    assert grader.score(ADD, before + '{"output": "CCO"}' + after, "add").score == 1


@pytest.mark.parametrize(
    "hostile",
    [
        "{" * 1_000_000,
        '{"output": ' * 200_000,
        '{"output": "' + "C" * 1_000_000 + '"}',
        "\0" * 1_000_000,
        "</think>" * 200_000,
        '{"output": "C\ud800"}',
        '{"output": "CC\\u0000O"}',
        '{"output": "' + "C1" * 450 + '"}',
        '{"output": "' + "C(" * 330 + ")" * 330 + '"}',
        '{"output": "' + "c1ccccc1." * 110 + 'C"}',
    ],
)
def test_hostile_answers_score_nothing_and_soon(grader: TaskGrader, hostile: str) -> None:
    start = time.process_time()
    assert grader.score(ADD, hostile, "add").score == 0
    assert time.process_time() - start < 20


def test_the_format_that_agents_are_told_is_the_format_that_scores(task: Task, grader: TaskGrader) -> None:
    examples = re.findall(r"`(\{\"output\": .*?\})`", task.dojo.answer_format)
    assert examples and all(grader.score(ADD, f"Well: {example}", "add").score == 1 for example in examples)


def test_subsets_are_named_by_the_row_and_those_of_other_tasks_refused(grader: TaskGrader) -> None:
    assert grader.subset_of(SUB) == "sub"
    with pytest.raises(SpecError, match="qed"):
        grader.subset_of(SUB | {"subtask": "qed"})


def test_the_primary_score_is_the_plain_mean_over_subsets(grader: TaskGrader) -> None:
    cases = [(ADD, "CCO")] * 3 + [(ADD, "CC")] + [(DELETE, "OCCO")] * 2
    triples = [(r, r["subtask"], grader.score(r, json.dumps({"output": a}), r["subtask"])) for r, a in cases]
    scores = grader.aggregate(triples, "success_rate")
    assert scores.primary.value == pytest.approx((0.75 + 0) / 2)
    assert scores.metrics["item_mean"] == pytest.approx(0.5)


def test_lm_eval_gets_the_same_score_from_a_row_as_json_text(grader: TaskGrader) -> None:
    doc = {"row": json.dumps(ADD), "subset": "add"}
    assert grader.module.process_results(doc, ['{"output": "CCO"}']) == {"score": 1.0, "parsed": 1.0}


def test_the_majority_answer_is_the_best_reference_or_ethanol_where_there_is_none(grader: TaskGrader) -> None:
    items = [{"row": row("add", source, added="hydroxyl"), "subset": "add"} for source in ("CC", "CCC", "OCC")]
    answer, scored = grader.majority_answer(items)
    assert answer == '{"output": "CCO"}' and [a.score for a in scored] == [1, 1, 0]
    bare = [{"row": item["row"] | {"meta": '{"added_group": "hydroxyl"}'}, "subset": "add"} for item in items]
    assert grader.majority_answer(bare)[0] == '{"output": "CCO"}'
