"""Simulated score tables of two agents, and the share of intervals that cover the truth.

The model: an answer is right with probability logistic(ability + item + agent-by-item + run), where the item, agent-by-item and
run effects are normal on the logit scale. The truth is the difference of the agents' expected scores over runs and items alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from harness.analysis import stats

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Method = Literal["items_only", "naive_bootstrap", "welch", "crossed"]
METHODS: tuple[Method, ...] = get_args(Method)

# Two agents that differ by about 12 points around a third of the items right, on items of ordinary spread.
ABILITIES = (-0.4, -1.0)
ITEM_SD = 1.0
# Percentiles of 400 resamples are good to about a percentage point of coverage, less than 500 draws are.
RESAMPLES = 400


@dataclass(frozen=True)
class Cell:
    """One setting of the simulation: K runs per agent, N items, SDs on the logit scale."""

    runs: int
    items: int
    run_sd: float
    agent_item_sd: float


def draw(cell: Cell, draws: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return binary tables of both agents, each of shape (draws, K, N)."""
    item = rng.normal(0.0, ITEM_SD, (draws, 1, cell.items))
    tables = []
    for ability in ABILITIES:
        own = rng.normal(0.0, cell.agent_item_sd, (draws, 1, cell.items))
        run = rng.normal(0.0, cell.run_sd, (draws, cell.runs, 1))
        right = rng.random((draws, cell.runs, cell.items)) < _logistic(ability + item + own + run)
        tables.append(right.astype("float64"))
    return tables[0], tables[1]


def truth(cell: Cell) -> float:
    """Return the difference of the expected scores, by Gauss–Hermite quadrature over the sum of the effects."""
    import numpy as np

    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    spread = (ITEM_SD**2 + cell.agent_item_sd**2 + cell.run_sd**2) ** 0.5
    means = [float((weights * _logistic(ability + spread * nodes)).sum() / weights.sum()) for ability in ABILITIES]
    return means[0] - means[1]


def coverage(cell: Cell, draws: int, seed: int, methods: tuple[Method, ...] = METHODS) -> dict[Method, float]:
    """Return for each method the share of ``draws`` nominal 95 % intervals that cover the truth."""
    import numpy as np

    rng = np.random.default_rng([seed, cell.runs, cell.items, round(100 * cell.run_sd), round(100 * cell.agent_item_sd)])
    a, b = draw(cell, draws, rng)
    true = truth(cell)
    shares: dict[Method, float] = {}
    for method in methods:
        low, high = interval(method, a, b, rng)
        shares[method] = float(((low <= true) & (true <= high)).mean())
    return shares


def interval(method: Method, a: Array, b: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the bounds of a nominal 95 % interval of the difference for tables (draws, K, N), by the method named."""
    if method == "naive_bootstrap":
        return _bootstrap(a, b, rng)
    crossed = stats.difference(a, b)
    if method == "crossed":
        return crossed.interval()
    if method == "items_only":
        return stats.Estimate(crossed.value, {"items": crossed.parts["items"]}).interval()
    return _welch(a, b).interval()


def _welch(a: Array, b: Array) -> stats.Estimate:
    """Return Welch's comparison of run means; where all runs agree it has width 0."""
    import numpy as np

    parts = {}
    for name, x in (("agent_a", a), ("agent_b", b)):
        runs = x.shape[-2]
        variance = x.mean(axis=-1).var(axis=-1, ddof=1) / runs
        parts[name] = stats.Part(variance, np.full(variance.shape, runs - 1.0))
    return stats.Estimate(a.mean(axis=(-2, -1)) - b.mean(axis=(-2, -1)), parts)


def _bootstrap(a: Array, b: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return percentiles of differences with runs and (shared) items drawn again with replacement, as weights."""
    import numpy as np

    items = a.shape[-1]
    by_item = rng.multinomial(items, np.full(items, 1 / items), RESAMPLES).T / items
    differences = 0.0
    for sign, x in ((1.0, a), (-1.0, b)):
        runs = x.shape[-2]
        by_run = rng.multinomial(runs, np.full(runs, 1 / runs), RESAMPLES).T / runs
        differences = differences + sign * ((x @ by_item) * by_run).sum(axis=-2)
    low, high = np.quantile(differences, [stats.ALPHA / 2, 1 - stats.ALPHA / 2], axis=-1)
    return low, high


def _logistic(x: Array) -> Array:
    import numpy as np

    return np.asarray(1.0 / (1.0 + np.exp(-x)), dtype=np.float64)
