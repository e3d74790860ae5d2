"""Per-item values for metrics that are no mean of item scores (F1, macro-F1): delete-one jackknife pseudo-values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def pseudo_values(items: Sequence[Item], metric: Callable[[Sequence[Item]], float]) -> list[float]:
    """Return n·θ − (n − 1)·θ₍₋ᵢ₎ for each item i, with θ the metric over all items and θ₍₋ᵢ₎ over all but i (Tukey 1958).

    For a mean these are the item scores themselves; for a smooth metric their mean is the bias-corrected metric and their
    variance over n estimates the metric's. Costs n + 1 calls of ``metric``, O(n²) for a metric of linear cost: the largest
    sub-set here has some hundred items.

    Args:
        items: what ``metric`` takes, one entry an item (for example pairs of gold and answer), of one sub-set and one run.
        metric: a pure function of a sequence of items; with a single item it is not called on an empty sequence.
    """
    whole = metric(items)
    n = len(items)
    if n < 2:
        return [whole] * n
    return [n * whole - (n - 1) * metric([*items[:i], *items[i + 1 :]]) for i in range(n)]
