from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from harness.analysis import stats
from harness.analysis.leaderboard import OVER_TASKS, leaderboard
from harness.analysis.references import normalised_score
from harness.spec import Budget, Cause, RunResult
from harness.spec.errors import NotFoundError

Build = Callable[..., RunResult]
YARDSTICKS = {"base": 0.1, "base_fewshot": 0.2, "majority": 0.3}


def drawn(result: Build, agent: str, level: float, seeds: int, n: int = 200, **more: object) -> list[RunResult]:
    rng = np.random.default_rng([int(100 * level), seeds])
    return [result(agent, s, (rng.random(n) < level).astype(float), references=YARDSTICKS, **more) for s in range(seeds)]


def test_agents_are_ranked_by_ranges_beside_the_yardsticks(result: Build) -> None:
    board = leaderboard([*drawn(result, "weak", 0.2, 3), *drawn(result, "good", 0.8, 3), *drawn(result, "rival", 0.78, 3)])
    assert [row.agent for row in board.rows] in (["good", "rival", "weak"], ["rival", "good", "weak"])
    assert [(row.rank_low, row.rank_high) for row in board.rows] == [(1, 2), (1, 2), (3, 3)]
    assert [(line.name, round(line.score, 3)) for line in board.references["math/sums"]] == list(YARDSTICKS.items())
    assert board.overall == () and board.warnings == ()


def test_a_rows_interval_is_the_crossed_one(result: Build) -> None:
    tables = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=float)
    row = leaderboard([result("a", s, t) for s, t in enumerate(tables)]).rows[0]
    low, high = stats.score(tables).interval()
    assert (row.score, row.ci_low, row.ci_high) == pytest.approx((0.5, max(0, float(low)), min(1, float(high))))


def test_a_single_run_describes_its_model_and_has_no_rank(result: Build) -> None:
    board = leaderboard([*drawn(result, "weak", 0.2, 3), *drawn(result, "lucky", 0.9, 1), *drawn(result, "good", 0.6, 3)])
    lucky = board.rows[0]
    assert lucky.agent == "lucky" and lucky.label.startswith("this model")
    assert (lucky.rank_low, lucky.rank_high) == (1, 3)
    assert all(row.label == "" for row in board.rows[1:])


def test_runs_that_do_not_count_and_cheats_are_counted(result: Build) -> None:
    runs = [
        *drawn(result, "a", 0.8, 2),
        result("a", 7, [1] * 200, cause=Cause.SANDBOX, graded=False),
        result("a", 8, [1] * 200, cause=Cause.AGENT_INTEGRITY, references=YARDSTICKS),
    ]
    board = leaderboard(runs)
    row = board.rows[0]
    assert (row.runs, row.flagged, row.left_out) == (3, 1, 1)
    assert row.score < 0.65
    assert [out.run for out in board.left_out] == ["r003"]
    assert any("base model" in w for w in board.warnings)


def test_over_tasks_only_agents_measured_on_each_are_listed(result: Build) -> None:
    board = leaderboard(
        [
            *drawn(result, "a", 0.8, 2),
            *drawn(result, "a", 0.6, 2, task="chem/count"),
            *drawn(result, "b", 0.3, 3),
            *drawn(result, "b", 0.2, 1, task="chem/count"),
            *drawn(result, "c", 0.3, 3),
        ]
    )
    assert [row.agent for row in board.overall] == ["a", "b"]
    first = board.overall[0]
    by_task = {row.task: row.score for row in board.rows if row.agent == "a"}
    assert first.task == OVER_TASKS and first.runs == 4
    assert first.score == pytest.approx(sum(by_task.values()) / 2)
    assert first.label == "" and board.overall[1].label.startswith("this model")


def test_settings_are_shown_apart_with_a_warning(result: Build) -> None:
    board = leaderboard([*drawn(result, "a", 0.5, 2), *drawn(result, "a", 0.5, 2, budget=Budget(wall=6000))])
    assert [(row.runs, row.setting) for row in board.rows] == [(2, ""), (2, "other budget")]
    assert any("differ in budget" in w for w in board.warnings)


def test_a_task_glob_chooses_and_an_unknown_task_is_an_error(result: Build) -> None:
    runs = [*drawn(result, "a", 0.5, 2), *drawn(result, "a", 0.5, 2, task="chem/count")]
    assert {row.task for row in leaderboard(runs, "chem/*").rows} == {"chem/count"}
    with pytest.raises(NotFoundError) as caught:
        leaderboard(runs, "math/sum")
    assert "math/sums" in caught.value.hint


def test_nothing_measured_is_an_empty_leaderboard(result: Build) -> None:
    board = leaderboard([result("a", 0, [1], cause=Cause.HARNESS, graded=False)])
    assert board.rows == () and len(board.left_out) == 1
    assert leaderboard([]).rows == ()


def test_the_normalised_score_spans_base_to_reference(result: Build) -> None:
    references = result("a", 0, [1], references={"base": 0.2, "reference": 0.6}).references
    assert normalised_score(0.2, references) == pytest.approx(0)
    assert normalised_score(0.6, references) == pytest.approx(1)
    assert normalised_score(0.5, references) == pytest.approx(0.75)
    assert normalised_score(0.5, references[:1]) is None
    assert normalised_score(0.5, (references[0], references[1].model_copy(update={"scores": references[0].scores}))) is None


def test_the_document_is_plain_json_without_infinities(result: Build) -> None:
    text = leaderboard([*drawn(result, "a", 0.0, 1, n=2), *drawn(result, "b", 1.0, 2, n=2)]).model_dump_json()
    rows = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in the document"))["rows"]
    assert all(0 <= row["ci_low"] < row["ci_high"] <= 1 for row in rows)
