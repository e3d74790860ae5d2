"""What the benchmark of load says of a pair of runs, and that its busy loops end with it."""

import math
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.sandbox.execd import tree

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))

import load


def result(score: float, error: float, wall_s: float) -> dict[str, Any]:
    return {"score": score, "error": error, "wall_s": wall_s}


def test_a_pair_differs_in_standard_errors_of_the_difference() -> None:
    found = load.compared(result(0.50, 0.03, 300.0), result(0.45, 0.04, 1200.0))
    assert found["difference"] == pytest.approx(-0.05) and found["error"] == pytest.approx(0.05)
    assert found["errors"] == pytest.approx(1.0) and found["within_two"] and found["slower"] == 4.0


def test_more_than_two_standard_errors_are_told() -> None:
    assert not load.compared(result(0.50, 0.03, 300.0), result(0.16, 0.03, 300.0))["within_two"]


def test_scores_without_an_error_agree_only_where_they_are_alike() -> None:
    assert load.compared(result(1.0, 0.0, 1.0), result(1.0, 0.0, 1.0))["within_two"]
    assert load.compared(result(1.0, 0.0, 1.0), result(0.9, 0.0, 1.0))["errors"] == math.inf


def test_busy_loops_run_meanwhile_and_are_gone_afterwards() -> None:
    before = set(tree.children(os.getpid()))
    with load.busy(2):
        loops = set(tree.children(os.getpid())) - before
        assert len(loops) == 2 and all(tree.running(pid) for pid in loops)
    assert not any(tree.stat_fields(pid) for pid in loops)
