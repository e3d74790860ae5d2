"""From scored items to the figures of a split, its interval, and per-item values for metrics that are no means. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.spec.errors import GraderFailure
from harness.spec.verdict import ItemScore, Scores
from harness.taskkit.scoring.contract import ScoredAnswer, TaskGrader

Row = Mapping[str, Any]

# 97.5 % quantile of the t distribution by degrees of freedom, for the core install that has no scipy; between two entries the
# smaller df is taken, so an interval is at most a little too wide.
_T = {
    1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228, 11: 2.201, 12: 2.179,
    13: 2.160, 14: 2.145, 15: 2.131, 16: 2.120, 17: 2.110, 18: 2.101, 19: 2.093, 20: 2.086, 25: 2.060, 30: 2.042, 40: 2.021,
    60: 2.000, 120: 1.980, 1000: 1.962,
}  # fmt: skip


def aggregate(items: Sequence[ItemScore], grader: TaskGrader, primary_name: str, rows: Mapping[str, Row]) -> Scores:
    """Compute the scores of a split from its items alone.

    Args:
        items: every item of the split.
        grader: the task's grader (sub-set metrics, ``summarise``).
        primary_name: the name of the task's primary metric.
        rows: item id → row in the benchmark's own layout.

    Raises:
        GraderFailure: nothing to score, an item without a row, or a figure that is not finite.
    """
    missing = next((item.id for item in items if item.id not in rows), None)
    if missing is not None:
        raise GraderFailure(f"the item {missing!r} is not in the split", hint="score the split's own items")
    return grader.aggregate(((rows[i.id], i.subset, answer_of(i)) for i in items), primary_name)


def answer_of(item: ItemScore) -> ScoredAnswer:
    """Turn a stored item back into what the grader said of its answer."""
    return ScoredAnswer(item.parsed, item.value, item.score, dict(item.metrics), item.failure)


def pseudo_values(items: Sequence[ItemScore], grader: TaskGrader, rows: Mapping[str, Row]) -> dict[str, float]:
    """Return delete-one jackknife pseudo-values of the items whose sub-set's metric is no mean of item scores.

    For n items and the sub-set's metric θ: n·θ − (n−1)·θ without the item (STATISTICS, "metrics that are not means"). Where
    the metric is a mean they would be the scores themselves, so such sub-sets are left out.
    """
    if not hasattr(grader.module, "summarise"):
        return {}
    values: dict[str, float] = {}
    for subset, group in by_subset(items).items():
        whole, n = _own_metric(group, grader, subset, rows), len(group)
        found = {
            item.id: n * whole - (n - 1) * _own_metric([*group[:place], *group[place + 1 :]], grader, subset, rows)
            for place, item in enumerate(group)
            if n > 1
        }
        if any(abs(found[item.id] - item.score) > 1e-9 for item in group if item.id in found):
            values |= found
    return values


def interval(items: Sequence[ItemScore], values: Mapping[str, float] | None = None) -> tuple[float, float]:
    """Return a 95 % interval of the primary score of ONE model over items like these; it says nothing about other runs.

    The score is the plain mean over sub-sets, so the variance is the sum over sub-sets of the variance of the mean, over the
    squared number of sub-sets (items are stratified). Where all items of a sub-set are equal its variance is floored by adding
    one success and one failure (Agresti-Coull), so no interval has width 0. Student's t with Satterthwaite's degrees of freedom.

    Args:
        items: the scored items.
        values: pseudo-values that stand in for item scores (`pseudo_values`).

    Raises:
        GraderFailure: there is no item.
    """
    if not items:
        raise GraderFailure("an interval of no items", hint="a split must hold at least one item")
    values = values or {}
    groups = [[values.get(i.id, i.score) for i in group] for group in by_subset(items).values()]
    centre = math.fsum(_mean(group) for group in groups) / len(groups)
    parts = [(_variance_of_mean(group) / len(groups) ** 2, max(1, len(group) - 1)) for group in groups]
    variance = math.fsum(part for part, _ in parts)
    df = variance**2 / math.fsum(part**2 / n for part, n in parts)
    half = _t_quantile(df) * math.sqrt(variance)
    # Every primary score lies on 0-1, and pseudo-values may put the centre a hair outside.
    return max(0.0, min(1.0, centre - half)), min(1.0, max(0.0, centre + half))


def by_subset(items: Sequence[ItemScore]) -> dict[str, list[ItemScore]]:
    """Group items by sub-set, in the order in which sub-sets occur."""
    groups: dict[str, list[ItemScore]] = {}
    for item in items:
        groups.setdefault(item.subset, []).append(item)
    return groups


def _own_metric(items: Sequence[ItemScore], grader: TaskGrader, subset: str, rows: Mapping[str, Row]) -> float:
    scores = grader.aggregate(((rows[i.id], i.subset, answer_of(i)) for i in items), "primary")
    return scores.subsets[subset][grader.subset_metrics[subset]]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _variance_of_mean(values: Sequence[float]) -> float:
    if max(values) - min(values) <= 1e-12:
        values = [*values, 1.0, 0.0]
    mean = _mean(values)
    return math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values)


def _t_quantile(df: float) -> float:
    return _T[max((n for n in _T if n <= df), default=1)]
