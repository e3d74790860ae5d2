"""Checks of rows that were made or changed."""

from pathlib import Path

import pytest
from ft_agent.data import Context, names_of
from ft_agent.forms import Forms
from ft_agent.rowchecks import Bad, Lengths, concludes, roughly, sift, summary, token_counter
from reading.rows import AnswerForm, PromptForm, Row
from tiny_model import make_tiny_model

FORMS = Forms(PromptForm("Task: ", "\nIn \\boxed{}."), AnswerForm("boxed", reasons=True), frozenset({"integer"}))
HELD = names_of(["Say 9.", "Task: Say 8.\nIn \\boxed{}."], FORMS.prompts)
CONTEXT = Context(FORMS, 100, held_out=HELD)


@pytest.mark.parametrize(
    ("rationale", "gold", "arrives"),
    [
        ("Two and two. The answer is 4.", "4", True),
        ("Two and two. The answer is 5.", "4", False),
        ("Two and two make 4", "4", True),
        ("Two and two make $4$.", "4", True),
        ("Two and two make 14.", "4", False),
        ("Two and two make 1.4", "4", False),
        ("4 is what two and two make", "4", False),
        ("So \\boxed{4}.", "4", True),
        ("So \\boxed{4}, not 5.", "4", True),
        ("It costs 1,200.", "1200", True),
        ("It is 4.0", "4", True),
        ("So it is (B).", "B", True),
        ("So it is THEB.", "B", False),
        ("The ring is c1ccccc1", "c1ccccc1", True),
        ('Thus {"output": "Yes"}', "Yes", True),
        ('Thus {"output": "No"}', "Yes", False),
        ("Therefore the claim holds: yes.", "Yes", True),
        ("", "4", False),
    ],
)
def test_a_solution_arrives_at_an_answer_by_naming_it_or_ending_in_it(rationale: str, gold: str, arrives: bool) -> None:
    assert concludes(rationale, gold) is arrives


@pytest.mark.parametrize("question", ["Say 9.", "say 9", "Task: Say 9.\nIn \\boxed{}.", "Say 8.", " Say  8 "])
def test_what_is_held_out_is_known_again_in_either_wording(question: str) -> None:
    found = sift([Row(question, "9", "", "", "new", 0)], CONTEXT, Lengths())
    assert [b.problem[:30] for b in found.bad] == ["its question is held out for v"]


def test_what_came_through_unchanged_is_not_judged() -> None:
    rows = [Row("?", "many words", "So 5.", "", "a", 0), Row("Say 9.", "", "", "", "a", 1)]
    assert sift(rows, CONTEXT, Lengths(), before={"a:0": rows[0], "a:1": rows[1]}).good == rows


def test_an_answer_that_was_missing_before_may_stay_missing() -> None:
    old = Row("Say  7.", "", "", "", "a", 0)
    new = Row("Say  7.", "", "Seven.", "", "a", 0)
    assert not sift([new], CONTEXT, Lengths(), before={"a:0": old}).bad


def test_problems_are_told_once_each_with_how_often_they_occur() -> None:
    bad = [Bad({}, f"its answer '{i}' is none of the kinds") for i in range(3)] + [Bad({}, "its question is empty")]
    assert summary(bad, 10) == ["3 of 10 rows: its answer '0' is none of the kinds", "1 of 10 rows: its question is empty"]


@pytest.mark.slow
def test_tokens_are_counted_by_the_models_own_tokenizer(tmp_path: Path) -> None:
    count = token_counter(make_tiny_model(tmp_path / "tiny"))
    assert count("abc é") == 6
    assert token_counter(tmp_path) is roughly


def test_the_tasks_own_limits_hold(tmp_path: Path) -> None:
    task = {"generation": {"max_context": 40, "max_new_tokens": 12}, "base_model": {"path": str(tmp_path)}}
    lengths = Lengths.of_task(task)
    fine, long_question, long_answer = (
        Row("Say 1.", "1", "", "", "a", 0),
        Row("Say 2, " + "please " * 20, "2", "", "", "a", 1),
        Row("Say 3.", "3", "Now " * 20 + "3", "", "a", 2),
    )
    found = sift([fine, long_question, long_answer], CONTEXT, lengths)
    assert found.good == [fine]
    assert ["the task allows 40" in b.problem for b in found.bad] == [True, False]
    assert "the task allows 12" in found.bad[1].problem
