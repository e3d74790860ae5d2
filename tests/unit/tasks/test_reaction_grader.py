from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.assets.task_dir import Task, find_task
from harness.spec.errors import GraderFailure, SpecError
from harness.taskkit.scoring.contract import TaskGrader, load_grader


@pytest.fixture(scope="module")
def task() -> Task:
    return find_task("chemistry/reaction")


@pytest.fixture(scope="module")
def grader(task: Task) -> TaskGrader:
    return load_grader(task.path)


def row(subset: str, gt: Any) -> dict[str, Any]:
    return {"id": "1", "query": "?", "task": "reaction", "subtask": subset, "gt": gt, "meta": "{}"}


PRODUCT = json.dumps({"Major Product": "COC(C)=O", "By Product": "O"})


@pytest.mark.parametrize(
    ("subset", "gt", "response", "parsed", "score"),
    [
        ("fs", PRODUCT, '{"output": "COC(C)=O"}', True, 1),
        ("fs", PRODUCT, '{"output": "CC(=O)OC"}', True, 1),
        ("fs", PRODUCT, '{"Major Product": "CC(=O)OC", "By Product": "O"}', True, 1),
        ("fs", PRODUCT, 'So ```json\n{"output": "CC(=O)OC"}\n``` it is.', True, 1),
        ("fs", PRODUCT, '{"output": "O"}', True, 0),  # the by-product
        ("fs", PRODUCT, '{"output": "COC(C)=O.O"}', True, 0),
        ("fs", PRODUCT, '{"output": "CCC(=O)O"}', True, 0),  # an isomer
        ("fs", PRODUCT, '{"output": "methyl acetate"}', True, 0),
        ("fs", PRODUCT, '{"Reactants": "COC(C)=O"}', False, 0),
        ("fs", PRODUCT, '{"output": {"Major Product": "COC(C)=O"}}', False, 0),
        ("fs", PRODUCT, "COC(C)=O", False, 0),
        ("fs", {"Major Product": "CCO"}, '{"output": "OCC"}', True, 1),
        ("fs", "CCO", '{"output": "OCC"}', True, 1),
        ("fs", r"C/C=C\C", r'{"output": "C/C=C\C"}', True, 1),
        ("fs", r"C/C=C\C", '{"output": "C/C=C/C"}', True, 0),
        ("fs", "N[C@@H](C)O", '{"output": "N[C@H](C)O"}', True, 0),
        ("retro", "CO.CC(=O)O", '{"output": "CC(O)=O.OC"}', True, 1),
        ("retro", "CO.CC(=O)O", '{"Reactants": "CC(O)=O.OC"}', True, 1),
        ("retro", "CO.CC(=O)O", '{"output": ["OC", "CC(=O)O"]}', True, 1),
        ("retro", "CO.CC(=O)O", '{"output": "CC(=O)O"}', True, 0),
        ("retro", "CO.CC(=O)O", '{"output": []}', False, 0),
        ("rcr", "CO.[Na+].[OH-]", '{"output": "[OH-].[Na+].OC"}', True, 1),
        ("rcr", "CO.[Na+].[OH-]", '{"condition": ["[OH-]", "[Na+]", "CO"]}', True, 1),
        ("rcr", "CO.[Na+].[OH-]", '{"output": "[OH-].[Na+]"}', True, 0),
        ("rcr", "CO", '{"output": "OC.CO"}', True, 1),  # a set
        ("rcr", '["CO", "O"]', '{"output": "O.CO"}', True, 1),
        ("rcr", ["CO", "O"], '{"output": "O.CO"}', True, 1),
        ("rcr", "Room temperature", '{"output": "room  temperature"}', True, 1),
        ("rcr", "THF", '{"output": "thf"}', True, 1),
        ("rcr", "THF", '{"output": "C1CCOC1"}', True, 0),  # texts are compared only where neither parses
        ("rcr", "CO", '{"output": "co"}', True, 0),
        ("rcr", "CO", '{"output": 3}', False, 0),
        ("nepp", "CC(O)=[OH+]", '{"output": "[OH+]=C(C)O"}', True, 1),
        ("nepp", "CC[O-]", '{"output": "CCO"}', True, 0),
        ("nepp", "CC[O-]", '{"Major Product": "CC[O-]"}', False, 0),
        ("mechsel", "B", '{"output": "B"}', True, 1),
        ("mechsel", "B", '{"choice": "b"}', True, 1),
        ("mechsel", "B", '{"output": "(B)."}', True, 1),
        ("mechsel", "b", '{"output": "B:"}', True, 1),
        ("mechsel", "B", '{"output": "A"}', True, 0),
        ("mechsel", "B", '{"output": "AB"}', False, 0),
        ("mechsel", "B", '{"output": "Because"}', False, 0),
        ("mechsel", "B", "The answer is B", False, 0),
        ("mechsel", "B", '{"output": "A"} and no: {"output": "B"}', True, 1),
        ("mechsel", "B", '<think>{"output": "B"}</think>{"output": "A"}', True, 0),
        ("mechsel", "B", '{"output": "B"', False, 0),
    ],
)
def test_answers_are_scored_by_hand_worked_cases(
    grader: TaskGrader, subset: str, gt: Any, response: str, parsed: bool, score: float
) -> None:
    answer = grader.score(row(subset, gt), response, subset)
    assert (answer.parsed, answer.score) == (parsed, score)


def test_validity_and_similarity_are_figures_of_their_own(grader: TaskGrader) -> None:
    near, wrong = (grader.score(row("fs", "CCCCO"), f'{{"output": "{s}"}}', "fs") for s in ("CCCO", "C("))
    assert near.metrics["valid_rate"] == 1 and 0 < near.metrics["similarity"] < 1
    assert dict(wrong.metrics) == {"valid_rate": 0} and wrong.parsed


@pytest.mark.parametrize(
    ("subset", "gt"),
    [
        ("fs", "C("),
        ("fs", ""),
        ("fs", '{"By Product": "O"}'),
        ("fs", "{broken"),
        ("retro", []),
        ("mechsel", "none"),
        ("rcr", None),
    ],
)
def test_a_broken_gold_is_a_grader_failure_and_no_score(grader: TaskGrader, subset: str, gt: Any) -> None:
    with pytest.raises(GraderFailure, match="gold"):
        grader.score(row(subset, gt), '{"output": "C"}', subset)


GOLDS = {"fs": "CCO", "retro": "CC.O", "rcr": "CO.O", "nepp": "CC[O-]", "mechsel": "C"}


@given(st.sampled_from(sorted(GOLDS)), st.text(max_size=60), st.booleans())
def test_no_response_breaks_the_grader(grader: TaskGrader, subset: str, text: str, in_json: bool) -> None:
    response = json.dumps({"output": text}) if in_json else text
    assert grader.score(row(subset, GOLDS[subset]), response, subset).score in (0, 1)


@given(st.sampled_from(["fs", "retro", "rcr", "nepp"]), st.text(alphabet="CNO()=#1[]@+-.*cn/\\H", max_size=20))
def test_no_smiles_like_text_breaks_the_grader(grader: TaskGrader, subset: str, text: str) -> None:
    assert grader.score(row(subset, GOLDS[subset]), json.dumps({"output": text}), subset).score in (0, 1)


@given(st.sampled_from(sorted(GOLDS)), st.text(max_size=40).filter(lambda t: "{" not in t and "<" not in t))
def test_a_right_answer_is_found_among_any_other_text(grader: TaskGrader, subset: str, text: str) -> None:
    response = text + json.dumps({"output": GOLDS[subset]}) + text
    assert grader.score(row(subset, GOLDS[subset]), response, subset).score == 1


@pytest.mark.parametrize("subset", ["fs", "rcr", "mechsel"])
@pytest.mark.parametrize(
    "hostile",
    [
        "[" * 1_000_000,
        '{"output": [' * 100_000,
        '{"output": "' + "C." * 500_000 + '"}',
        '{"output": "' + "(" * 1_000_000 + '"}',
        '{"output": "C\\u0000"}',
        '{"output": "C\ud800"}',
        '{"output": [' + '"C",' * 100_000 + '"C"]}',
    ],
)
def test_hostile_answers_score_nothing_and_soon(grader: TaskGrader, subset: str, hostile: str) -> None:
    start = time.process_time()
    assert grader.score(row(subset, GOLDS[subset]), hostile, subset).score == 0
    assert time.process_time() - start < 20


def test_the_formats_that_agents_are_told_are_the_formats_that_score(task: Task, grader: TaskGrader) -> None:
    examples = re.findall(r"`(\{\"output\": .*?\})`", task.dojo.answer_format)
    assert len(examples) == 3
    for example, subset in zip(examples, ("fs", "rcr", "mechsel"), strict=True):
        gold = json.loads(example)["output"]
        assert grader.score(row(subset, gold), f"Well: {example}", subset).score == 1


def test_subsets_are_named_by_the_row_and_those_of_other_tasks_refused(grader: TaskGrader) -> None:
    assert grader.subset_of(row("rcr", "C")) == "rcr"
    with pytest.raises(SpecError, match="qed"):
        grader.subset_of(row("qed", "C"))


def test_the_primary_score_is_the_plain_mean_over_subsets(grader: TaskGrader) -> None:
    cases = [("mechsel", "B", "B")] * 3 + [("mechsel", "B", "A"), ("fs", "CCO", "CO")]
    rows = [(row(s, g), s, grader.score(row(s, g), json.dumps({"output": a}), s)) for s, g, a in cases]
    assert grader.aggregate(rows, "exact_match").primary.value == pytest.approx(0.375)


def test_the_majority_answer_is_the_most_common_gold(grader: TaskGrader) -> None:
    items = [{"row": row("mechsel", g), "subset": "mechsel"} for g in "ABBC"]
    answer, scored = grader.majority_answer(items)
    assert answer == '{"output": "B"}' and sum(a.score for a in scored) == 2
