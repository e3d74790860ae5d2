from __future__ import annotations

import re

import pytest
from aime25_forms import README, REFUSED, TAKEN, readme
from hypothesis import given
from hypothesis import strategies as st

from harness.assets.task_dir import Task
from harness.spec.errors import GraderFailure, SpecError
from harness.taskkit.scoring.contract import TaskGrader


def row(answer: object) -> dict[str, object]:
    return {"question": "?", "answer": answer}


@pytest.mark.parametrize(
    ("gold", "response", "parsed", "score"),
    [
        ("42", r"\boxed{42}", True, 1),
        ("42", r"So the answer is \boxed{42}.", True, 1),
        ("42", r"\boxed{41}", True, 0),
        ("42", r"\boxed{41} no: \boxed{42}", True, 1),
        ("42", r"\boxed{42} no: \boxed{41}", True, 0),
        ("42", r"\boxed{042}", True, 1),
        ("42", r"\boxed{ 42 }", True, 1),
        ("42", r"\boxed{$42$}", True, 1),
        ("42", r"\boxed{42.0}", True, 1),
        ("42", r"\boxed{+42}", True, 1),
        ("42", r"\boxed{-42}", True, 0),
        ("42", r"\boxed{\frac{84}{2}}", True, 1),
        ("42", r"\boxed{40+2}", True, 1),
        ("42", r"\boxed{x}", True, 0),
        ("42", r"\boxed{forty-two}", True, 0),
        ("42", r"\boxed{41, 42}", True, 0),
        ("42", r"\boxed{41 \text{ or } 42}", True, 0),
        ("42", r"\boxed{420}", True, 0),
        ("42", r"\boxed{4 2}", True, 0),
        ("42", r"\boxed{42^\circ}", True, 1),
        (r"336^\circ", r"\boxed{336}", True, 1),
        (r"336^\circ", r"\boxed{336^\circ}", True, 1),
        (r"336^\circ", r"\boxed{336^{\circ}}", True, 1),
        ("0", r"\boxed{0}", True, 1),
        ("0", r"\boxed{-0}", True, 1),
        ("0", r"\boxed{000}", True, 1),
        ("999", r"\boxed{999}", True, 1),
        (7, r"\boxed{7}", True, 1),
        ("42", "42", False, 0),
        ("42", "The answer is 42.", False, 0),
        ("42", r"\boxed{}", False, 0),
        ("42", r"\boxed{42", False, 0),
        ("42", "", False, 0),
        ("42", r"<think>\boxed{41}</think>\boxed{42}", True, 1),
        ("42", r"<think>\boxed{42}</think>\boxed{41}", True, 0),
        ("42", r"<think>\boxed{42}</think> done", True, 1),
        ("42", r"\boxed{9^{9^{9^{9}}}}", True, 0),
        ("42", r"\boxed{99999999!}", True, 0),
        ("42", r"\boxed{" + "9" * 5000 + "}", True, 0),
        ("42", r"\boxed{" + "(" * 5000 + "}", True, 0),
    ],
)
def test_answers_are_scored_by_hand_worked_cases(
    aime25_grader: TaskGrader, gold: object, response: str, parsed: bool, score: int
) -> None:
    answer = aime25_grader.score(row(gold), response, "aime25")
    assert (answer.parsed, answer.score) == (parsed, score)


@pytest.mark.parametrize("form", [form for forms in TAKEN.values() for form in forms])
def test_what_a_reader_sees_as_the_integer_counts(aime25_grader: TaskGrader, form: str) -> None:
    for around in (form, f"So the answer is {form}.", f"<think>\\boxed{{7}}</think>\n{form}\n"):
        answer = aime25_grader.score(row("42"), around, "aime25")
        assert (answer.parsed, answer.score, answer.failure) == (True, 1, "")
    assert aime25_grader.score(row("43"), form, "aime25").score == 0


@pytest.mark.parametrize("form", [form for forms in REFUSED.values() for form in forms])
def test_anything_else_does_not_count(aime25_grader: TaskGrader, form: str) -> None:
    answer = aime25_grader.score(row("42"), f"So: {form}", "aime25")
    assert (answer.score, answer.failure) == (0, "")
    assert answer.parsed == (form not in REFUSED["no closed box"])


@pytest.mark.parametrize(
    ("form", "gold"), [(r"\boxed{4\,2}", 6), (r"\boxed{4 2}", 6), (r"\boxed{1\,042}", 43), (r"\boxed{4 \cdot 2}", 6)]
)
def test_numbers_side_by_side_are_not_added_up(aime25_grader: TaskGrader, form: str, gold: int) -> None:
    assert aime25_grader.score(row(gold), form, "aime25").score == 0


def test_the_readme_s_table_of_forms_is_the_tests() -> None:
    assert sum(map(len, TAKEN.values())) + sum(map(len, REFUSED.values())) >= 100
    assert README.read_text(encoding="utf-8") == readme(), "python -m tests.unit.tasks.aime25_forms writes it anew"


@given(
    st.text(max_size=200)
    | st.text(alphabet="\\boxed{}^!0129frac()-+*/ _%,.$~textbinom", max_size=60).map(lambda s: f"\\boxed{{{s}}}")
)
def test_no_response_breaks_the_grader(aime25_grader: TaskGrader, response: str) -> None:
    assert aime25_grader.score(row("42"), response, "aime25").score in (0, 1)


@given(st.integers(0, 999), st.integers(0, 999))
def test_exactly_the_right_integer_scores(aime25_grader: TaskGrader, gold: int, given_answer: int) -> None:
    answer = aime25_grader.score(row(str(gold)), f"\\boxed{{{given_answer}}}", "aime25")
    assert answer.score == (gold == given_answer)


def test_the_format_that_agents_are_told_is_the_format_that_scores(aime25: Task, aime25_grader: TaskGrader) -> None:
    examples = re.findall(r"`(\\boxed\{\d+\})`", aime25.dojo.answer_format)
    assert examples
    for example in examples:
        number = re.sub(r"\D", "", example)
        assert aime25_grader.score(row(number), f"Thus {example}.", "aime25").score == 1


def test_a_broken_gold_is_a_grader_failure_and_no_score(aime25_grader: TaskGrader) -> None:
    with pytest.raises(GraderFailure, match="no number"):
        aime25_grader.score(row("no number"), r"\boxed{1}", "aime25")


def test_a_row_without_a_question_fits_no_subset(aime25_grader: TaskGrader) -> None:
    assert aime25_grader.subset_of(row("1")) == "aime25"
    with pytest.raises(SpecError, match="question"):
        aime25_grader.subset_of({"problem": "?"})


def test_the_majority_answer_is_the_commonest_gold(aime25_grader: TaskGrader) -> None:
    items = [{"row": row(a), "subset": "aime25"} for a in ("3", "5", "5", "7")]
    answer, scored = aime25_grader.majority_answer(items)
    assert answer == r"\boxed{5}" and sum(a.score for a in scored) == 2


def test_accuracy_counts_every_item_and_the_parse_rate_stands_beside_it(aime25_grader: TaskGrader) -> None:
    responses = [r"\boxed{1}", r"\boxed{2}", "1", ""]
    triples = [(row("1"), "aime25", aime25_grader.score(row("1"), r, "aime25")) for r in responses]
    scores = aime25_grader.aggregate(triples, "accuracy")
    assert (
        scores.primary.value == 0.25
        and scores.parse_rate == 0.5
        and scores.subsets == {"aime25": {"accuracy": 0.25, "parse_rate": 0.5}}
    )
