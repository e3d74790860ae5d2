"""The formulas, against examples worked by hand and against an independent re-derivation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special
from scipy import stats as scipy_stats

from harness.analysis import stats


def by_loops(table: list[list[float]]) -> tuple[float, float]:
    """Take MSR and MSE of a table cell by cell, from the definition of a two-way layout."""
    runs, items = len(table), len(table[0])
    grand = sum(map(sum, table)) / (runs * items)
    rows = [sum(row) / items for row in table]
    columns = [sum(row[i] for row in table) / runs for i in range(items)]
    between = items * sum((r - grand) ** 2 for r in rows) / (runs - 1)
    left = sum((table[k][i] - rows[k] - columns[i] + grand) ** 2 for k in range(runs) for i in range(items))
    return between, left / ((runs - 1) * (items - 1))


def reference_interval(a: list[list[float]], b: list[list[float]]) -> tuple[float, float, float, float]:
    """Derive difference, bounds and p anew, with plain floats and t quantiles through the incomplete beta function."""
    items = len(a[0])
    total, spread = 0.0, 0.0
    for table in (a, b):
        runs = len(table)
        between, residual = by_loops(table)
        excess = max(0.0, between - residual)
        share = excess / (items * runs)
        if share > 0:
            df = excess**2 / (between**2 / (runs - 1) + residual**2 / ((runs - 1) * (items - 1)))
            total, spread = total + share, spread + share**2 / df
    gaps = [sum(r[i] for r in a) / len(a) - sum(r[i] for r in b) / len(b) for i in range(items)]
    mean = sum(gaps) / items
    v = sum((g - mean) ** 2 for g in gaps) / (items - 1) / items
    total, spread = total + v, spread + v**2 / (items - 1)
    df = total**2 / spread
    t = math.sqrt(df * (1 / special.betaincinv(df / 2, 0.5, 0.05) - 1))
    p = float(special.betainc(df / 2, 0.5, df / (df + mean**2 / total)))
    return mean, mean - t * math.sqrt(total), mean + t * math.sqrt(total), p


def test_a_table_worked_by_hand_gives_its_mean_squares() -> None:
    # Run means 1, 3/4, 1/4; column means 1, 2/3, 2/3, 1/3; grand mean 2/3.
    x = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]], dtype=float)
    table = stats.run_table(x)
    # var of run means = ((1/3)² + (1/12)² + (5/12)²)/2 = 42/288; times 4 items.
    assert table.between == pytest.approx(4 * 42 / 288)
    # Total 96/36 = runs 42/36 + items 24/36 + left 30/36, over 2·3 degrees of freedom.
    assert table.residual == pytest.approx((30 / 36) / 6)
    part = table.part()
    assert part.variance == pytest.approx((21 / 36 - 5 / 36) / 12)
    assert part.df == pytest.approx((16 / 36) ** 2 / ((21 / 36) ** 2 / 2 + (5 / 36) ** 2 / 6))


@pytest.mark.parametrize(("runs_a", "runs_b", "items"), [(2, 2, 2), (3, 3, 15), (2, 5, 8), (7, 2, 30), (10, 10, 50)])
def test_difference_agrees_with_an_independent_derivation(runs_a: int, runs_b: int, items: int) -> None:
    rng = np.random.default_rng([runs_a, runs_b, items])
    for _ in range(20):
        a = np.clip(rng.normal(0.6, 0.3, (runs_a, items)) + rng.normal(0, 0.1, (runs_a, 1)), 0, 1)
        b = np.clip(rng.normal(0.4, 0.3, (runs_b, items)) + rng.normal(0, 0.1, (runs_b, 1)), 0, 1)
        estimate = stats.difference(a, b)
        low, high = estimate.interval()
        got = (float(estimate.value), float(low), float(high), float(estimate.p_value()))
        assert got == pytest.approx(reference_interval(a.tolist(), b.tolist()), rel=1e-9)


def test_many_tables_at_once_give_what_each_gives_alone() -> None:
    rng = np.random.default_rng(4)
    a, b = (rng.random((6, 3, 9)) < 0.4).astype(float), (rng.random((6, 4, 9)) < 0.6).astype(float)
    together = np.stack(stats.difference(a, b).interval())
    alone = np.stack([stats.difference(x, y).interval() for x, y in zip(a, b, strict=True)], axis=1)
    assert together == pytest.approx(alone)


def test_without_excess_between_runs_only_the_items_count() -> None:
    # Every run has mean 1/2 although runs disagree on items: MSR = 0 < MSE.
    a = np.array([[1, 0, 1, 0], [0, 1, 1, 0]], dtype=float)
    b = np.array([[0, 0, 0, 1], [0, 0, 1, 0]], dtype=float)
    estimate = stats.difference(a, b)
    gaps = np.array([0.5, 0.5, 0.5, -0.5])
    assert estimate.variance == pytest.approx(gaps.var(ddof=1) / 4)
    assert estimate.df == pytest.approx(3)


def test_single_runs_have_an_item_part_only() -> None:
    a, b = np.array([[1, 1, 0, 1, 0]], dtype=float), np.array([[0, 1, 0, 0, 0]], dtype=float)
    estimate = stats.difference(a, b)
    assert set(estimate.parts) == {"items"}
    expected = scipy_stats.ttest_rel(a[0], b[0])
    assert estimate.p_value() == pytest.approx(expected.pvalue)
    low, high = estimate.interval()
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval()))


@pytest.mark.parametrize("level", [0.0, 1.0])
@pytest.mark.parametrize("runs", [1, 3])
def test_a_score_at_the_edge_has_a_width(level: float, runs: int) -> None:
    low, high = stats.score(np.full((runs, 15), level)).interval()
    # One success and one failure added to 15: variance 1/17 of the 17, over 17 items.
    half = scipy_stats.t.ppf(0.975, 14) * math.sqrt(1 / 17 / 17)
    assert (low, high) == pytest.approx((level - half, level + half))


@pytest.mark.parametrize(("level_a", "level_b"), [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0)])
def test_a_difference_at_the_edge_has_a_width(level_a: float, level_b: float) -> None:
    estimate = stats.difference(np.full((3, 15), level_a), np.full((2, 15), level_b))
    gap = level_a - level_b
    gaps = np.array([gap] * 15 + [1.0, -1.0])
    assert estimate.value == gap
    assert estimate.variance == pytest.approx(gaps.var(ddof=1) / 17)
    assert estimate.half_width() > 0.1


def test_the_edge_is_seen_through_rounding() -> None:
    # Each item has the same three scores in another order of the runs: sums of floats differ in the last bits.
    a = np.array([[0.1, 0.3, 0.2], [0.2, 0.1, 0.3], [0.3, 0.2, 0.1]])
    assert np.ptp(a.mean(axis=0)) > 0
    assert stats.score(a).parts["items"].variance > 0.01


def test_two_identical_models_are_never_a_certain_tie() -> None:
    same = np.array([[1, 0, 1, 1, 0, 0, 1, 0]], dtype=float).repeat(3, axis=0)
    estimate = stats.difference(same, same)
    assert estimate.value == 0 and estimate.half_width() > 0.1 and estimate.p_value() == 1.0


def test_tables_over_different_numbers_of_items_are_refused() -> None:
    with pytest.raises(ValueError, match="5 and 6"):
        stats.difference(np.zeros((2, 5)), np.zeros((2, 6)))


def test_over_tasks_averages_and_divides_the_variance_by_the_square_of_their_number() -> None:
    rng = np.random.default_rng(1)
    pairs = [((rng.random((3, n)) < 0.7).astype(float), (rng.random((2, n)) < 0.4).astype(float)) for n in (10, 40, 25)]
    estimates = [stats.difference(a, b) for a, b in pairs]
    overall = stats.over_tasks(estimates)
    assert overall.value == pytest.approx(sum(float(e.value) for e in estimates) / 3)
    assert overall.variance == pytest.approx(sum(float(e.variance) for e in estimates) / 9)
    spread = sum(float(p.variance) ** 2 / float(p.df) for e in estimates for p in e.parts.values() if p.variance > 0) / 81
    assert overall.df == pytest.approx(float(overall.variance) ** 2 / spread)
    assert sum(stats.by_source(overall).values()) == pytest.approx(float(overall.variance))
    assert set(stats.by_source(overall)) == {"agent_a", "agent_b", "items"}


def test_holm_gives_the_worked_table() -> None:
    # 0.01·4 = 0.04; 0.02·3 = 0.06; 0.03·2 = 0.06 (not below the one before); 0.005·5 = 0.025; 0.9.
    assert stats.holm([0.01, 0.02, 0.03, 0.005, 0.9]) == pytest.approx([0.04, 0.06, 0.06, 0.025, 0.9])
    assert stats.holm([0.04]) == [0.04]
    assert stats.holm([0.6, 0.7]) == [1.0, 1.0]
    assert stats.holm([]) == []


def test_a_row_meets_its_holm_level_exactly_when_its_adjusted_p_is_below_alpha() -> None:
    rng = np.random.default_rng(2)
    for _ in range(300):
        p_values = (rng.random(int(rng.integers(1, 8))) ** 4).tolist()
        levels = stats.holm_levels(p_values)
        assert [p <= level for p, level in zip(p_values, levels, strict=True)] == [q <= 0.05 for q in stats.holm(p_values)]


def test_ranks_are_ranges_of_what_the_intervals_allow() -> None:
    intervals = [(0.7, 0.9), (0.5, 0.75), (0.1, 0.4), (0.0, 0.2)]
    assert stats.rank_ranges(intervals) == [(1, 2), (1, 2), (3, 4), (3, 4)]
    assert stats.rank_ranges([(0.7, 0.9), (-math.inf, math.inf), (0.1, 0.4)]) == [(1, 2), (1, 3), (2, 3)]
