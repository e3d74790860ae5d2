"""Agents that think with language models: what they cost, and what a comparison must say of their minds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.analysis.compare import compare
from harness.analysis.leaderboard import leaderboard
from harness.spec import RunResult
from harness.spec.backbone import BackboneRef
from harness.spec.errors import UsageError

Build = Callable[..., RunResult]


def mind(name: str) -> BackboneRef:
    return BackboneRef(name=name, upstream="openai", model="m")


def test_a_leaderboard_says_what_thinking_cost_a_run_on_average(result: Build) -> None:
    runs = [result("a", s, [1, 0], backbone=mind("x"), usage={"tokens": 100 * (s + 1), "dollars": 0.5}) for s in range(3)]
    row = leaderboard(runs).rows[0]
    assert (row.tokens, row.dollars, row.backbone) == (200, 0.5, "x (m)")


def test_agents_with_different_backbones_are_not_compared_unless_asked(result: Build) -> None:
    runs = [result(a, s, [1, 0], backbone=mind(b)) for a, b in (("a", "x"), ("b", "y")) for s in range(2)]
    with pytest.raises(UsageError, match="differ in backbone"):
        compare(runs, "a", "b")
    assert any("MIXED runs that differ in backbone" in warning for warning in compare(runs, "a", "b", mix=True).warnings)


def test_a_mind_against_none_is_compared_and_pointed_out(result: Build) -> None:
    runs = [result("a", s, [1, 0], backbone=mind("x")) for s in range(2)] + [result("recipe", s, [1, 0]) for s in range(2)]
    assert "math/sums: a thinks with a backbone, recipe with none" in compare(runs, "a", "recipe").warnings


def test_an_agent_that_never_called_the_backbone_it_requires_counts_and_is_flagged(result: Build) -> None:
    silent = {"backbone_never_called": True}
    runs = [result(a, s, [1, 0], backbone=mind("x"), integrity=silent if a == "a" and s else {}) for a in "ab" for s in range(2)]
    board, comparison = leaderboard(runs), compare(runs, "a", "b")
    assert {row.agent: (row.runs, row.silent) for row in board.rows} == {"a": (2, 1), "b": (2, 0)}
    assert "a requires a backbone and has runs that never called it" in board.warnings
    assert "math/sums: a requires a backbone and never called it in 1 of 2 runs" in comparison.warnings
