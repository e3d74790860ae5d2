"""Megabytes of rubbish against every grader: it scores nothing, nothing breaks, and the work is linear."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_cases import TASKS, grader

from harness.grading.hostile import hostile_answers


def molecule(task: str, subset: str, gt: str, query: str = "?", meta: str = "{}") -> dict[str, Any]:
    return {"id": "1", "query": query, "task": task, "subtask": subset, "gt": gt, "meta": meta}


def table(qtype: str, qsubtype: str, answer: str) -> dict[str, Any]:
    shown = {"columns": ["a"], "data": [[1]]}
    head = {"id": "1", "qtype": qtype, "qsubtype": qsubtype, "table": shown, "question": "?", "answer": answer}
    return {**head, "chart_type": "bar", "instruction_type": "TCoT", "instruction": ""}


@dataclass(frozen=True)
class Case:
    """A task's row, the sub-set it belongs to, how an answer begins, and a whole right one."""

    row: dict[str, Any]
    subset: str
    opening: str
    right: str


CASES = {
    "biology/err": Case({"context": {}, "is_correct": False}, "err", '{"correct": ', '{"correct": false}'),
    "biology/gen": Case({"input": "?", "output": ["Stir it."]}, "gen", '{"steps": ["', '{"steps": ["Stir it."]}'),
    "biology/ord": Case({"wrong_steps": ["b", "a"], "correct_steps": ["a", "b"]}, "ord", '{"order": [', '{"order": [1, 0]}'),
    "biology/pqa": Case({"question": "?", "choices": ["x", "y"], "answer": "y"}, "pqa", '{"answer": [', '{"answer": ["B", 100]}'),
    "chemistry/mol_edit": Case(
        molecule("mol_edit", "add", "CCO", "Input Molecule: CC", '{"reference": "CCO", "added_group": "hydroxyl"}'),
        "add",
        '{"output": "',
        '{"output": "CCO"}',
    ),
    "chemistry/mol_opt": Case(
        molecule("mol_opt", "solubility", "", "Source Molecule: CCCCCC"), "solubility", '{"output": "', '{"output": "CCO"}'
    ),
    "chemistry/mol_und": Case(molecule("mol_und", "fg_count", "2"), "fg_count", '{"output": ', '{"output": 2}'),
    "chemistry/reaction": Case(molecule("reaction", "retro", "CO"), "retro", '{"output": "', '{"output": "CO"}'),
    "finance/financeiq": Case(
        {"Question": "?", "A": "1", "B": "2", "C": "3", "D": "4", "Answer": "B"}, "经济师", "答案是: ", "答案是: B"
    ),
    "math/aime25": Case({"question": "?", "answer": "336"}, "aime25", "\\boxed{", "\\boxed{336}"),
    "patent/noc4pc": Case(
        {
            "application_number": 1,
            "claim_number": 1,
            "context": "{}",
            "prior_art_specifications": "[]",
            "answer": '{"code": "102"}',
        },
        "noc4pc",
        '{"code": "',
        '{"code": "102"}',
    ),
    "patent/par4pc": Case(
        {"options": {letter: {} for letter in "ABCDEFGH"}, "gold_answers": ["A"], "silver_answers": []},
        "par4pc",
        '{"answer": ["',
        '{"answer": "A"}',
    ),
    "patent/pi4pc": Case(
        {
            "options": {"17": "x", "18": "y"},
            "gold_answers": [17],
            "silver_answers": [],
            "negative_answers": [18],
            "prior_art_specification": {},
        },
        "pi4pc",
        '{"answer": ',
        '{"answer": 17}',
    ),
    "table/data_analysis": Case(table("DataAnalysis", "TrendForecasting", "12"), "trend", "Final Answer: ", "Final Answer: 12"),
    "table/fact_checking": Case(
        table("FactChecking", "MatchBased", "Yes"), "fact_checking", "Final Answer: ", "Final Answer: yes"
    ),
    "table/numerical_reasoning": Case(
        table("NumericalReasoning", "Counting", "12"), "numerical_reasoning", "Final Answer: ", "Final Answer: 12"
    ),
    "table/visualization": Case(
        table("Visualization", "ChartGeneration", "y_references = [[1, 2]]"),
        "visualization",
        "```python\n",
        "```python\nimport matplotlib.pyplot as plt\nplt.bar([1, 2], [1, 2])\n```",
    ),
}
NAMES = sorted(CASES)
GRADERS = {name: grader(name) for name in NAMES}
PIECES = ["[", "{", "(", '"', "\\", "\x00", "\ud800", "</think>", "[ANSWER_START]", "{[(&", " \n", "OPENING"]
SIZE = 1_000_000
# A grader that works in the square of the length would need hours; the slowest here needs about a second.
PATIENCE_S = 30


def test_every_task_has_a_case() -> None:
    assert {path.parent.relative_to(TASKS).as_posix() for path in TASKS.glob("*/*/task.toml")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_right_answer_of_the_case_scores_1(name: str) -> None:
    case = CASES[name]
    assert GRADERS[name].subset_of({"subset": case.subset, **case.row}) == case.subset
    assert GRADERS[name].score(case.row, case.right, case.subset).score == 1


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("name", NAMES)
def test_a_megabyte_of_rubbish_scores_nothing_in_linear_time(name: str, piece: str) -> None:
    case = CASES[name]
    piece = case.opening if piece == "OPENING" else piece
    started = time.process_time()
    for before in ("", case.opening):
        assert GRADERS[name].score(case.row, before + piece * (SIZE // len(piece)), case.subset).score == 0
    assert time.process_time() - started < PATIENCE_S


# Work in the square of 20,000 characters takes many seconds; the slowest honest answer here a tenth of one.
EACH_S = 3.0


@pytest.mark.parametrize("name", NAMES)
def test_no_hostile_answer_breaks_a_grader_holds_it_up_or_scores(name: str) -> None:
    case = CASES[name]
    for what, response in hostile_answers(case.right).items():
        if name == "table/visualization" and "```python" in response and "in the answer" in what:
            continue  # each would be run; `test_table_figures` does that
        started = time.process_time()
        answer = GRADERS[name].score(case.row, response, case.subset)
        assert (answer.score, answer.failure) == (0, ""), what
        assert time.process_time() - started < EACH_S, what
        json.dumps(answer.value, allow_nan=False).encode()


def test_the_table_of_hostile_answers_is_a_large_one_and_has_no_two_alike() -> None:
    for case in CASES.values():
        answers = hostile_answers(case.right)
        assert len(answers) >= 90 and len(set(answers.values())) >= 0.95 * len(answers)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "table/visualization"])
@settings(max_examples=60)
@given(data=st.data())
def test_no_arrangement_of_its_own_pieces_breaks_a_grader(name: str, data: st.DataObject) -> None:
    case = CASES[name]
    piece = st.sampled_from([case.opening, case.right, case.right[:-1], "</think>", "<think>", *'{}[]":,\\', "\x00", "\ud800"])
    response = "".join(data.draw(st.lists(piece | st.text(max_size=5), max_size=10)))
    first = GRADERS[name].score(case.row, response, case.subset)
    assert 0 <= first.score <= 1 and (first.parsed or first.score == 0)
    assert json.dumps(first.value) == json.dumps(GRADERS[name].score(case.row, response, case.subset).value)
