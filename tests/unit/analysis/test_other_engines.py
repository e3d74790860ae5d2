"""Grades of different engines are told apart: shown in tables of their own, compared only when asked to, with a warning."""

from collections.abc import Callable

import pytest

from harness.analysis.compare import compare
from harness.analysis.leaderboard import leaderboard
from harness.spec.errors import UsageError
from harness.spec.result import RunResult
from harness.spec.summary import engine_of, setting_of

Build = Callable[..., RunResult]


def two_engines(result: Build) -> list[RunResult]:
    mine = [result("a", seed, [1, 0, 1]) for seed in range(2)]
    return mine + [result("b", seed, [0, 0, 1], engine="vllm") for seed in range(2)]


def test_a_leaderboard_shows_them_apart_and_says_in_what_they_differ(result: Build) -> None:
    board = leaderboard(two_engines(result))
    assert [[row.agent for row in table.rows] for table in board.tables()] == [["b"], ["a"]]
    assert any("differ in engine" in warning for warning in board.warnings)
    assert any("engine transformers instead of vllm" in table.heading.note for table in board.tables())


def test_a_comparison_is_refused_with_the_reason_and_made_with_a_warning_when_asked_for(result: Build) -> None:
    with pytest.raises(UsageError, match="differ in engine"):
        compare(two_engines(result), "a", "b")
    mixed = compare(two_engines(result), "a", "b", mix=True)
    assert any("MIXED runs that differ in engine" in warning for warning in mixed.warnings)


def test_what_a_profile_wishes_for_makes_no_difference_only_what_computed_does(result: Build) -> None:
    run = result("a", 0, [1])
    wished = run.spec.model_copy(update={"generation": run.spec.generation.model_copy(update={"engine": "transformers"})})
    assert setting_of(run.spec) == setting_of(wished)
    assert setting_of(run.spec).differing(setting_of(run.spec, "vllm")) == ["engine"]


def test_a_run_that_handed_nothing_in_stands_beside_its_yardsticks_engine(result: Build) -> None:
    run = result("a", 0, [0], engine=None, references={"base": 0.0})
    assert engine_of(run) == "transformers"
    measured = run.model_copy(update={"references": (run.references[0].model_copy(update={"engine": "vllm"}),)})
    assert engine_of(measured) == "vllm"
