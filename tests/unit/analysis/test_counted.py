"""What is never compared, and that every figure says what was measured."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.analysis.compare import compare
from harness.analysis.leaderboard import leaderboard
from harness.analysis.report import markdown_report
from harness.spec import Budget, Cause, RunResult
from harness.spec.errors import UsageError
from harness.spec.measured import Measured

Build = Callable[..., RunResult]
FACTS = {"profile": "mini", "base_model": "smol", "metric": "accuracy", "budget": "1m, 20 evaluations", "sandbox": "namespace"}
FACTS |= {"backbone": "", "hidden": ""}


def two_agents(result: Build) -> list[RunResult]:
    items = {"a": [1, 1, 1, 0], "b": [0, 1, 0, 0]}
    return [result(agent, s, items[agent], references={"base": 0.1}) for agent in items for s in range(3)]


def facts(row: Measured) -> dict[str, str]:
    return row.model_dump(include=set(Measured.model_fields))


def test_every_row_says_what_was_measured(result: Build) -> None:
    runs = two_agents(result)
    board, comparison = leaderboard(runs), compare(runs, "a", "b")
    for row in (*board.rows, *board.references["math/sums"], *comparison.rows, comparison.overall):
        assert facts(row) == {**FACTS, "dojo_version": "0.1.0"}


def test_a_row_over_tasks_lists_what_differs_between_them(result: Build) -> None:
    long = Budget(wall=600)
    runs = [*two_agents(result), *(result(a, s, [1, 0], task="chem/count", budget=long) for a in "ab" for s in (0, 1))]
    row = leaderboard(runs).overall[0]
    assert (row.profile, row.budget) == ("mini", "10m, 20 evaluations / 1m, 20 evaluations")
    assert compare(runs, "a", "b").overall.budget == row.budget


def test_runs_of_another_setting_stand_in_a_table_that_names_the_difference(result: Build) -> None:
    runs = [*two_agents(result), *(result("a", s, [1, 0, 1, 0], versions={"dojo": "0.2.0", "torch": "2.1"}) for s in range(2))]
    newest, older = leaderboard(runs).tables()
    assert newest.heading.title.endswith("dojo 0.2.0") and newest.heading.note == ""
    assert older.heading.title.endswith("dojo 0.1.0")
    assert older.heading.note == "other versions dojo 0.1.0 instead of 0.2.0, torch unknown instead of 2.1"
    assert [line.name for line in older.lines] == ["base"] and newest.lines == ()
    page = markdown_report("b", runs)
    assert f"### {older.heading.title}\n\n{older.heading.note}\n\n| rank" in page


@pytest.mark.parametrize(
    ("field", "value", "note"),
    [
        ("sandbox", "docker", "other sandbox namespace instead of docker"),
        ("budget", Budget(wall=90, evaluations=1), "other budget 1m, 20 evaluations instead of 1m30s, 1 evaluation"),
        ("data", "data-2", "other data data-1 instead of data-2"),
    ],
)
def test_each_difference_is_named_with_its_values(result: Build, field: str, value: object, note: str) -> None:
    runs = [result("a", 0, [1, 0]), result("a", 1, [1, 0], **{field: value})]
    assert [table.heading.note for table in leaderboard(runs).tables()] == ["", note]


def test_a_quick_look_is_neither_ranked_nor_compared_and_shown_with_its_reason(result: Build) -> None:
    runs = [*two_agents(result), result("a", 7, [1, 1], limit=2)]
    board = leaderboard(runs)
    assert [(row.agent, row.runs) for row in board.rows] == [("a", 3), ("b", 3)]
    assert [(out.run, out.reason) for out in board.left_out] == [("r007", "quick look at 2 items")]
    assert compare(runs, "a", "b").left_out == board.left_out
    page = markdown_report("b", runs)
    assert "quick look at 2 items; never compared or ranked\n\n| run" in page
    with pytest.raises(UsageError, match="no agent with runs that count named 'b'"):
        compare([*runs[:3], result("b", 1, [1, 0, 0, 0], limit=4)], "a", "b")


def test_an_excluded_run_is_left_out_and_shown_with_its_reason(result: Build) -> None:
    runs = two_agents(result)
    excluded = {"r001": "the disk was full"}
    board = leaderboard(runs, excluded=excluded)
    assert [(row.agent, row.runs, row.left_out) for row in board.rows] == [("a", 2, 1), ("b", 3, 0)]
    assert board.left_out[0].reason == "excluded: the disk was full"
    assert compare(runs, "a", "b", excluded=excluded).rows[0].runs_a == 2
    assert "excluded: the disk was full; never compared or ranked" in markdown_report("b", runs, excluded=excluded)


def test_a_single_runs_interval_is_the_one_recorded_with_its_grade(result: Build) -> None:
    run = result("a", 0, [1, 0, 1, 1])
    assert run.grade is not None
    recorded = run.model_copy(update={"grade": run.grade.model_copy(update={"ci_low": 0.31, "ci_high": 0.97})})
    row = leaderboard([recorded]).rows[0]
    assert (row.ci_low, row.ci_high) == (0.31, 0.97)


def test_a_single_cheat_stands_with_the_base_models_recorded_interval(result: Build) -> None:
    row = leaderboard([result("a", 0, [1, 1], cause=Cause.AGENT_INTEGRITY, references={"base": 0.2})]).rows[0]
    assert (row.score, row.ci_low, row.ci_high) == pytest.approx((0.2, 0.0, 0.25))
