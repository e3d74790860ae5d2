"""What side evaluations say: base beside submission with intervals, by the functions that make all of dojo's intervals."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from harness.analysis import stats
from harness.spec.base import Spec
from harness.spec.side import Better, SideMeasure, SideResult


class SideFigure(Spec):
    """One row of the table: two models on the same items. Intervals (95 %) are over items like these and of these two models."""

    evaluation: str
    subset: str
    metric: str
    description: str
    better: Better
    items: int
    base: float
    base_low: float
    base_high: float
    submission: float
    low: float
    high: float
    difference: float = Field(description="submission minus base, item by item")
    difference_low: float
    difference_high: float
    verdict: str = Field(description="lost, gained, changed (where neither way is better) or not_distinguishable")


def side_figures(results: Iterable[SideResult]) -> tuple[SideFigure, ...]:
    """Return the figures of side evaluations, in their order.

    Each row is a question of its own and is not adjusted for the others: nothing is chosen by them.
    """
    return tuple(_figure(result.name, measure) for result in results for measure in result.measures)


def _figure(name: str, measure: SideMeasure) -> SideFigure:
    import numpy as np

    pairs = np.asarray(list(measure.items.values()), dtype=np.float64)
    base, submission = pairs[:, 0][None, :], pairs[:, 1][None, :]
    shares = bool(((pairs >= 0) & (pairs <= 1)).all())
    ours, theirs, apart = stats.score(base), stats.score(submission), stats.difference(submission, base)
    (base_low, base_high), (low, high) = _bounds(ours, 0.0, shares), _bounds(theirs, 0.0, shares)
    difference_low, difference_high = _bounds(apart, -1.0, shares)
    return SideFigure(
        evaluation=name,
        subset=measure.subset,
        metric=measure.metric,
        description=measure.description,
        better=measure.better,
        items=len(pairs),
        base=float(ours.value),
        base_low=base_low,
        base_high=base_high,
        submission=float(theirs.value),
        low=low,
        high=high,
        difference=float(apart.value),
        difference_low=difference_low,
        difference_high=difference_high,
        verdict=_verdict(measure.better, difference_low, difference_high),
    )


def _bounds(estimate: stats.Estimate, least: float, shares: bool) -> tuple[float, float]:
    """Return an interval; that of a share, or of a difference of shares, is cut where shares end."""
    low, high = (float(bound) for bound in estimate.interval())
    return (max(least, low), min(1.0, high)) if shares else (low, high)


def _verdict(better: Better, low: float, high: float) -> str:
    if low <= 0 <= high:
        return "not_distinguishable"
    if better == "neither":
        return "changed"
    return "gained" if (low > 0) == (better == "higher") else "lost"
