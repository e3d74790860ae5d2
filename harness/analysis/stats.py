"""What K runs on N shared items say about agents: crossed components with Satterthwaite degrees of freedom.

An agent is a random process. Its score table X has a row a run and a column a hidden item; runs and items are random and crossed,
items are shared by the agents compared, runs are not. With MSR = N·var(run means) and MSE the residual mean square of the two-way
table without interaction:

* run part of an agent: s = max(0, MSR − MSE)/(N·K), df = (MSR − MSE)² / (MSR²/(K−1) + MSE²/((K−1)(N−1)));
* item part: v = var over items of (mean over A's runs − mean over B's runs)/N, df = N − 1 (by sub-set where there are several);
* V = s_A + s_B + v, df = V² / Σ part²/df, interval = difference ± t(df)·√V.

Every function takes tables of shape (..., K, N): leading axes are independent tables, so that the simulations that check the
coverage (tests, ``benchmarks/coverage.py``) run the very code that users' comparisons run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

CONFIDENCE = 0.95
ALPHA = 1.0 - CONFIDENCE


@dataclass(frozen=True)
class Part:
    """One source's share of the variance of an estimate, with its degrees of freedom (meaningless where the variance is 0)."""

    variance: Array
    df: Array


@dataclass(frozen=True)
class RunTable:
    """The mean squares of one agent's table: what is known about its run-to-run variance.

    Attributes:
        runs: K.
        items: N.
        between: MSR = N·var(run means); NaN for one run.
        residual: MSE, the residual mean square; NaN for one run.
    """

    runs: int
    items: int
    between: Array
    residual: Array

    def part(self, runs: int | None = None) -> Part:
        """Return the run part of the variance of the mean over ``runs`` runs (as many as were seen, unless said)."""
        import numpy as np

        k, n = runs or self.runs, self.items
        excess = np.maximum(0.0, self.between - self.residual)
        spread = self.between**2 / (k - 1) + self.residual**2 / ((k - 1) * max(1, n - 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            df = np.where(excess > 0, excess**2 / spread, np.inf)
        return Part(excess / (n * k), df)


@dataclass(frozen=True)
class Estimate:
    """A score or a difference of scores with the variance of each source.

    Attributes:
        value: the estimate.
        parts: source → its share: ``agent`` or ``agent_a`` and ``agent_b`` (run to run; absent for a single run), ``items``.
    """

    value: Array
    parts: dict[str, Part]

    @property
    def variance(self) -> Array:
        """V, the sum over the sources."""
        import numpy as np

        return np.asarray(sum(part.variance for part in self.parts.values()), dtype=np.float64)

    @property
    def df(self) -> Array:
        """Satterthwaite's degrees of freedom of V."""
        return satterthwaite(list(self.parts.values()))

    def half_width(self, alpha: float = ALPHA) -> Array:
        """Return t(df)·√V at two-sided level ``alpha``: the smallest distance from 0 that would have been seen as one."""
        import numpy as np

        return np.asarray(_student_t().ppf(1.0 - alpha / 2.0, self.df) * np.sqrt(self.variance), dtype=np.float64)

    def interval(self, alpha: float = ALPHA) -> tuple[Array, Array]:
        """Return the bounds of the interval of confidence 1 − ``alpha``."""
        half = self.half_width(alpha)
        return self.value - half, self.value + half

    def p_value(self) -> Array:
        """Return the two-sided t test's p for "the value is 0"."""
        import numpy as np

        return np.asarray(2.0 * _student_t().sf(np.abs(self.value) / np.sqrt(self.variance), self.df), dtype=np.float64)


def _student_t() -> Any:
    """Return scipy's t distribution; scipy takes most of a second to import."""
    from scipy import stats  # type: ignore[import-untyped]

    return stats.t


def t_quantile(probability: float, df: float) -> float:
    """Return the value below which a t variable with ``df`` degrees of freedom lies with the given probability."""
    return float(_student_t().ppf(probability, df))


def satterthwaite(parts: Sequence[Part]) -> Array:
    """Return V² / Σ part²/df over the parts (Satterthwaite 1946); parts of variance 0 say nothing and do not enter."""
    import numpy as np

    total = sum(part.variance for part in parts)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = sum(np.where(part.variance > 0, part.variance**2 / part.df, 0.0) for part in parts)
        return np.asarray(np.where(spread > 0, total**2 / spread, np.inf), dtype=np.float64)


def run_table(x: Array) -> RunTable:
    """Take the mean squares of one agent's tables of shape (..., K, N); for K = 1 they do not exist and are NaN."""
    import numpy as np

    runs, items = x.shape[-2:]
    if runs < 2:
        nothing = np.full(x.shape[:-2], np.nan)
        return RunTable(runs, items, nothing, nothing)
    run_means = x.mean(axis=-1, keepdims=True)
    residual = x - run_means - x.mean(axis=-2, keepdims=True) + x.mean(axis=(-2, -1), keepdims=True)
    square = (residual**2).sum(axis=(-2, -1)) / ((runs - 1) * max(1, items - 1))
    return RunTable(runs, items, items * run_means[..., 0].var(axis=-1, ddof=1), square)


@dataclass(frozen=True)
class Stratum:
    """A sub-set's items in a table scaled by `measurement.score_table`.

    Attributes:
        columns: which items.
        share: the sub-set's weight in the primary score, 1/S.
        level: the sub-set's own score (or difference of scores), which the scaled columns no longer show.
    """

    columns: NDArray[np.intp]
    share: float
    level: float


def _item_part(values: Array, added: tuple[float, float], strata: Sequence[Stratum]) -> Part:
    """Take the item part of item values (..., N): sub-sets are fixed, items within them are drawn.

    Where all items (of a sub-set) are equal, the variance is that of the items with one success and one failure added
    (Agresti–Coull), so that no interval has width 0: 0 of 15 is no proof of 0.
    """
    import numpy as np

    items = values.shape[-1]
    if not strata:
        return _equal_items_floored(values, values.mean(axis=-1), added, 1.0, items)
    parts = [
        _equal_items_floored(values[..., s.columns], np.full(values.shape[:-1], s.level), added, s.share, items) for s in strata
    ]
    return Part(np.asarray(sum(part.variance for part in parts), dtype=np.float64), satterthwaite(parts))


def _equal_items_floored(values: Array, level: Array, added: tuple[float, float], share: float, items: int) -> Part:
    """Take the share of one sub-set's columns in the variance of the mean over all ``items`` columns."""
    import numpy as np

    count = values.shape[-1]
    variance = ((values - values.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1) / (max(1, items - 1) * items)
    # Equal up to rounding: the means over runs of equal items may differ in the last bits.
    edge = np.ptp(values, axis=-1) <= 1e-12
    extended = np.empty((*values.shape[:-1], count + 2))
    extended[...] = level[..., None]
    extended[..., -2:] = added
    floor = share**2 * extended.var(axis=-1, ddof=1) / (count + 2)
    return Part(np.where(edge, floor, variance), np.full(values.shape[:-1], float(max(1, count - 1))))


def score(x: Array, strata: Sequence[Stratum] = ()) -> Estimate:
    """Estimate one agent's expected score from its tables of shape (..., K, N).

    For K = 1 only the item part exists: the interval then describes this model, not the agent. ``strata`` are the task's
    sub-sets, where there are several.
    """
    items = _item_part(x.mean(axis=-2), (1.0, 0.0), strata)
    parts = {"agent": run_table(x).part()} if x.shape[-2] > 1 else {}
    return Estimate(x.mean(axis=(-2, -1)), {**parts, "items": items})


def difference(a: Array, b: Array, strata: Sequence[Stratum] = ()) -> Estimate:
    """Estimate A's expected score minus B's from tables (..., K_A, N) and (..., K_B, N) with the same items in the same order.

    The success and failure added at the edge are put so that the agents disagree on both (+1 and −1). ``strata`` are the task's
    sub-sets, where there are several.

    Raises:
        ValueError: the tables do not have the same number of items.
    """
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"tables over different items: {a.shape[-1]} and {b.shape[-1]}")
    parts = {name: run_table(x).part() for name, x in (("agent_a", a), ("agent_b", b)) if x.shape[-2] > 1}
    items = _item_part(a.mean(axis=-2) - b.mean(axis=-2), (1.0, -1.0), strata)
    return Estimate(a.mean(axis=(-2, -1)) - b.mean(axis=(-2, -1)), {**parts, "items": items})


def over_tasks(estimates: Sequence[Estimate]) -> Estimate:
    """Take the mean over a fixed set of T tasks: V = Σ V_t/T², Satterthwaite over all parts of all tasks.

    A source that is missing on one task (a single run there) is left out as a whole task's part would be: the result then says
    nothing about that agent's run-to-run variance either. Callers look at the runs.
    """
    import numpy as np

    count = len(estimates)
    value = np.asarray(sum(e.value for e in estimates) / count, dtype=np.float64)
    parts = {
        f"{source}:{number}": replace(part, variance=part.variance / count**2)
        for number, e in enumerate(estimates)
        for source, part in e.parts.items()
    }
    return Estimate(value, parts)


def by_source(estimate: Estimate) -> dict[str, float]:
    """Return the variance of each source, summed over tasks where there are several."""
    total: dict[str, float] = {}
    for name, part in estimate.parts.items():
        source = name.partition(":")[0]
        total[source] = total.get(source, 0.0) + float(part.variance)
    return total


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's (1979) adjusted p values, in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(order):
        highest = max(highest, (len(p_values) - place) * p_values[index])
        adjusted[index] = min(1.0, highest)
    return adjusted


def holm_levels(p_values: Sequence[float], alpha: float = ALPHA) -> list[float]:
    """Return for each row the unadjusted level that it had to meet, given the verdicts on the other rows.

    With R other rows of m found different, Holm lets this row be tested at alpha/(m − R). So a row's adjusted p is at most
    ``alpha`` exactly when its p is at most its level, that is, when its interval of confidence 1 − level excludes 0.
    """
    found = [p <= alpha for p in holm(p_values)]
    return [alpha / (len(p_values) - (sum(found) - here)) for here in found]


def rank_ranges(intervals: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
    """Return the best and the worst rank (1 is best) compatible with the intervals of scores.

    An agent is surely ahead of another only where its whole interval lies above the other's. Give (−∞, ∞) for a score whose
    interval says nothing about the agent.
    """
    ranges = []
    for low, high in intervals:
        above = sum(other_low > high for other_low, _ in intervals)
        below = sum(other_high < low for _, other_high in intervals)
        ranges.append((1 + above, len(intervals) - below))
    return ranges
