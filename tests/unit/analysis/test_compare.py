from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from harness.analysis import stats
from harness.analysis.compare import Comparison, compare, compare_all
from harness.spec import Budget, Cause, RunResult
from harness.spec.errors import NotFoundError, UsageError

Build = Callable[..., RunResult]


def drawn(
    result: Build, agent: str, levels: list[float], n: int = 150, first_seed: int = 0, key: int = 0, **more: object
) -> list[RunResult]:
    rng = np.random.default_rng([n, len(levels), key, *agent.encode()])
    return [result(agent, first_seed + s, (rng.random(n) < p).astype(float), **more) for s, p in enumerate(levels)]


def check_consistency(comparison: Comparison) -> None:
    """The verdict, the adjusted interval, the adjusted p and the smallest difference say the same."""
    for row in (*comparison.rows, comparison.overall):
        if row.models:
            about_agents = {row.ci_low, row.ci_high, row.p, row.p_adjusted, row.ci_adjusted_low, row.ci_adjusted_high}
            assert row.verdict == "not_distinguishable" and about_agents == {None}
            continue
        excludes = row.ci_adjusted_low > 0 or row.ci_adjusted_high < 0
        smallest = row.smallest_difference if row.smallest_difference is not None else math.inf
        assert excludes == (abs(row.difference) >= smallest) == (row.p_adjusted <= 0.05)
        assert (row.verdict != "not_distinguishable") == excludes
        assert -1 <= row.ci_adjusted_low <= row.difference <= row.ci_adjusted_high <= 1
        assert row.win + row.tie + row.loss > 0


def test_a_clear_lead_is_better_and_the_other_way_round_worse(result: Build) -> None:
    runs = [*drawn(result, "good", [0.8, 0.75, 0.82]), *drawn(result, "bad", [0.3, 0.35])]
    forth, back = compare(runs, "good", "bad"), compare(runs, "bad", "good")
    row = forth.rows[0]
    assert (row.verdict, back.rows[0].verdict) == ("better", "worse")
    assert (row.runs_a, row.runs_b) == (3, 2)
    assert (row.win, row.tie, row.loss) == (back.rows[0].loss, back.rows[0].tie, back.rows[0].win)
    assert row.difference == pytest.approx(-back.rows[0].difference)
    assert row.ci_low == pytest.approx(-back.rows[0].ci_high)
    assert forth.overall == row
    check_consistency(forth)


def test_one_run_never_gives_a_verdict_about_the_agent(result: Build) -> None:
    comparison = compare([*drawn(result, "good", [0.95]), *drawn(result, "bad", [0.05, 0.05, 0.05])], "good", "bad")
    row = comparison.rows[0]
    assert row.models is not None and row.models.p < 1e-6 and row.models.ci_low > 0 and row.models.verdict == "better"
    assert (row.verdict, row.p, row.ci_low) == ("not_distinguishable", None, None)
    assert "one run says nothing about run-to-run variance" in row.reason and "1 more run of good" in row.reason
    assert row.label.startswith("these models") and row.runs_needed is None


def test_runs_that_differ_more_than_agents_are_not_distinguishable(result: Build) -> None:
    comparison = compare([*drawn(result, "a", [0.7, 0.3, 0.6]), *drawn(result, "b", [0.4, 0.5, 0.2])], "a", "b")
    row = comparison.rows[0]
    assert row.verdict == "not_distinguishable"
    assert row.runs_needed is not None and row.runs_needed > 3
    assert f"{row.runs_needed} runs per agent" in row.reason and f"{row.smallest_difference:.3f}" in row.reason
    assert row.variance["agent_a"] > row.variance["items"] > 0
    check_consistency(comparison)


def test_a_difference_no_number_of_runs_can_show_says_so(result: Build) -> None:
    # Fixed models: the agents differ on three items of forty, two against one. Only more items would tell.
    a, b = [1.0] * 20 + [0.0] * 20, [1.0] * 18 + [0.0] * 21 + [1.0]
    comparison = compare([*(result("a", s, a) for s in range(3)), *(result("b", s, b) for s in range(3))], "a", "b")
    row = comparison.rows[0]
    assert (row.win, row.tie, row.loss) == (2, 37, 1)
    assert row.runs_needed is None and "no number of runs" in row.reason


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_agents_at_the_same_edge_are_not_distinguishable(result: Build, level: float) -> None:
    runs = [result(agent, s, [level] * 15) for agent in ("a", "b") for s in range(3)]
    comparison = compare(runs, "a", "b")
    row = comparison.rows[0]
    assert row.ci_low < -0.1 and row.ci_high > 0.1 and row.p == 1.0
    assert row.verdict == "not_distinguishable"
    assert (row.win, row.tie, row.loss) == (0, 15, 0)


def test_two_items_are_enough_to_compute_and_too_few_to_tell(result: Build) -> None:
    runs = [*(result("a", s, [1, 1 - s % 2]) for s in range(3)), *(result("b", s, [0, s % 2]) for s in range(4))]
    assert compare(runs, "a", "b").rows[0].verdict == "not_distinguishable"


def test_several_tasks_are_adjusted_together_and_averaged(result: Build) -> None:
    levels = {"math/sums": 0.62, "chem/count": 0.58, "table/look": 0.5}
    runs = []
    for n, (task, level) in enumerate(levels.items()):
        runs += drawn(result, "a", [level + 0.03, level, level - 0.03], task=task, key=n)
        runs += drawn(result, "b", [0.5, 0.47, 0.53], task=task, key=n)
    comparison = compare(runs, "a", "b")
    p_values = [row.p for row in comparison.rows]
    assert [row.p_adjusted for row in comparison.rows] == pytest.approx(stats.holm(p_values))
    assert any(row.p < row.p_adjusted < 1 for row in comparison.rows)
    assert comparison.overall.difference == pytest.approx(sum(row.difference for row in comparison.rows) / 3)
    assert sum(comparison.overall.variance.values()) == pytest.approx(
        sum(sum(row.variance.values()) for row in comparison.rows) / 9
    )
    check_consistency(comparison)
    assert [row.task for row in compare(runs, "a", "b", task="chem/*").rows] == ["chem/count"]


def test_a_task_with_one_run_keeps_the_overall_verdict_open(result: Build) -> None:
    runs = [*drawn(result, "a", [0.9, 0.9]), *drawn(result, "b", [0.1, 0.1])]
    runs += [*drawn(result, "a", [0.9], task="chem/count"), *drawn(result, "b", [0.1, 0.1], task="chem/count")]
    comparison = compare(runs, "a", "b")
    assert {row.task: row.verdict for row in comparison.rows} == {"chem/count": "not_distinguishable", "math/sums": "better"}
    assert comparison.overall.verdict == "not_distinguishable" and comparison.overall.runs_needed is None


def test_other_settings_are_left_out_or_mixed_on_request_and_never_silently(result: Build) -> None:
    runs = [*drawn(result, "a", [0.6, 0.5]), *drawn(result, "b", [0.5, 0.6])]
    long = drawn(result, "b", [0.9, 0.9], first_seed=5, budget=Budget(wall=6000))
    apart = compare([*runs, *long], "a", "b")
    assert apart.rows[0].runs_b == 2 and any("other settings are left out; they differ in budget" in w for w in apart.warnings)
    mixed = compare([*runs, *long], "a", "b", mix=True)
    assert mixed.rows[0].runs_b == 4 and any("MIXED runs that differ in budget" in w for w in mixed.warnings)
    with pytest.raises(UsageError, match="differ in budget") as caught:
        compare([*runs[:2], *long], "a", "b")
    assert "--mix" in caught.value.hint


def test_runs_on_different_items_are_refused_even_on_request(result: Build) -> None:
    runs = [result("a", 0, {"p": 1, "q": 0}), result("b", 0, {"p": 1, "r": 0}, data="data-2")]
    with pytest.raises(UsageError, match=r"data-1.*data-2"):
        compare(runs, "a", "b", mix=True)


def test_the_newest_version_of_an_agent_is_compared_and_the_choice_is_told(result: Build) -> None:
    runs = [*drawn(result, "a", [0.2, 0.2]), *drawn(result, "b", [0.5, 0.5]), *drawn(result, "a", [0.9, 0.9], version="v2")]
    comparison = compare(runs, "a", "b")
    assert comparison.rows[0].difference > 0.2 and comparison.rows[0].runs_a == 2
    assert any("the newest is compared" in w for w in comparison.warnings)


def test_names_with_dashes_are_understood_and_unknown_ones_get_a_suggestion(result: Build) -> None:
    runs = [*drawn(result, "ft_agent", [0.8, 0.8]), *drawn(result, "recipe", [0.5, 0.5])]
    assert compare(runs, "ft-agent", "recipe").a == "ft_agent"
    with pytest.raises(NotFoundError) as caught:
        compare(runs, "recpie", "ft_agent")
    assert "recipe" in caught.value.hint
    with pytest.raises(UsageError, match="itself"):
        compare(runs, "recipe", "recipe")


def test_cheats_count_as_the_base_model_and_are_flagged(result: Build) -> None:
    references = {"base": 0.1}
    runs = [*drawn(result, "a", [1.0, 1.0], cause=Cause.AGENT_INTEGRITY, references=references), *drawn(result, "b", [0.8, 0.8])]
    comparison = compare(runs, "a", "b")
    assert comparison.rows[0].verdict == "worse" and comparison.rows[0].flagged == 2
    assert any("base model" in w for w in comparison.warnings)


def test_all_pairs_are_adjusted_over_all_rows_of_the_page(result: Build) -> None:
    levels = {"a": 0.62, "b": 0.5, "c": 0.47}
    runs = [r for agent, p in levels.items() for r in drawn(result, agent, [p, p + 0.02, p - 0.02])]
    runs += drawn(result, "d", [0.5, 0.5], task="chem/count")
    comparisons, refused = compare_all(runs)
    assert (comparisons[0].a, comparisons[0].b, len(comparisons)) == ("a", "b", 3)
    rows = [row for c in comparisons for row in c.rows]
    assert [row.p_adjusted for row in rows] == pytest.approx(stats.holm([row.p for row in rows]))
    assert compare(runs, "a", "c").rows[0].p_adjusted < next(row.p_adjusted for c in comparisons for row in c.rows if c.b == "c")
    assert len(refused) == 3 and all("d" in reason for reason in refused)
    for comparison in comparisons:
        check_consistency(comparison)
