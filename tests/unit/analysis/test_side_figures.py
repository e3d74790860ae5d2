"""Figures of side evaluations: by the statistics of every other interval, with a verdict that follows from the interval."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis import stats
from harness.analysis.side import side_figures
from harness.spec.side import Better, SideMeasure, SideResult


def result(pairs: list[tuple[float, float]], better: Better = "higher") -> SideResult:
    items = {f"i{n}": pair for n, pair in enumerate(pairs)}
    measure = SideMeasure(subset="harmful", metric="refusal_rate", better=better, items=items)
    return SideResult(name="safety", title="safety", digest="d", measures=(measure,), max_new_tokens=96)


def test_a_figure_is_that_of_the_crossed_interval_with_one_run_each() -> None:
    pairs = [(1.0, 0.0)] * 6 + [(1.0, 1.0)] * 9 + [(0.0, 1.0)] * 2
    [figure] = side_figures([result(pairs)])
    table = np.asarray(pairs)
    apart = stats.difference(table[None, :, 1], table[None, :, 0])
    assert (figure.base, figure.submission, figure.items) == (pytest.approx(15 / 17), pytest.approx(11 / 17), 17)
    assert figure.difference == pytest.approx(float(apart.value)) == pytest.approx(-4 / 17)
    assert (figure.difference_low, figure.difference_high) == pytest.approx(tuple(map(float, apart.interval())))
    assert figure.verdict == "not_distinguishable"


def test_no_interval_has_width_0_or_leaves_where_shares_end() -> None:
    [figure] = side_figures([result([(1.0, 1.0)] * 10)])
    assert 0.0 <= figure.base_low < figure.base == 1.0 == figure.base_high
    assert -1.0 <= figure.difference_low < 0.0 < figure.difference_high <= 1.0


@pytest.mark.parametrize(
    ("better", "pairs", "verdict"),
    [
        ("higher", [(1.0, 0.0)] * 19 + [(1.0, 1.0)], "lost"),
        ("higher", [(0.0, 1.0)] * 19 + [(1.0, 1.0)], "gained"),
        ("lower", [(0.0, 1.0)] * 19 + [(1.0, 1.0)], "lost"),
        ("neither", [(60.0 + n, 3.0) for n in range(12)], "changed"),
        ("higher", [(1.0, 0.0), (1.0, 1.0)], "not_distinguishable"),
        ("higher", [(1.0, 0.0)], "not_distinguishable"),
    ],
)
def test_the_verdict_follows_from_the_interval(better: Better, pairs: list[tuple[float, float]], verdict: str) -> None:
    [figure] = side_figures([result(pairs, better)])
    assert figure.verdict == verdict


def test_words_are_not_cut_to_shares() -> None:
    [figure] = side_figures([result([(60.0, 3.0), (80.0, 5.0), (70.0, 2.0)], "neither")])
    assert figure.base == 70.0 and figure.base_high > 80.0 and figure.difference_high < 0.0
