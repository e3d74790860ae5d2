"""How many runs would tell: power from variance components, before money is spent and after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from harness.analysis import stats
from harness.spec.base import Spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Nobody pays for more runs of one agent than this; beyond it the answer is "more items, not more runs".
MOST_RUNS = 1000


class Components(Spec):
    """The variances that decide how well two agents can be told apart on one task."""

    items: int = Field(ge=1)
    run_a: float = Field(ge=0, description="variance of agent A's run scores beyond what the items' noise makes")
    run_b: float = Field(ge=0)
    residual_a: float = Field(ge=0, description="residual mean square of A's table: run by item")
    residual_b: float = Field(ge=0)
    item: float = Field(ge=0, description="variance over items of the agents' true differences")


def components_of(a: NDArray[np.float64], b: NDArray[np.float64]) -> Components:
    """Estimate the components from the agents' tables (K_A, N) and (K_B, N), at least two runs each."""
    of_a, of_b = stats.run_table(a), stats.run_table(b)
    items = a.shape[-1]
    observed = float(stats.difference(a, b).parts["items"].variance) * items
    noise = float(of_a.residual) / of_a.runs + float(of_b.residual) / of_b.runs
    return Components(
        items=items,
        run_a=max(0.0, float(of_a.between - of_a.residual)) / items,
        run_b=max(0.0, float(of_b.between - of_b.residual)) / items,
        residual_a=float(of_a.residual),
        residual_b=float(of_b.residual),
        item=max(0.0, observed - noise),
    )


def expected(components: Components, runs: int) -> stats.Estimate:
    """Return the variance that a comparison with ``runs`` runs per agent is expected to have (its value is 0)."""
    import numpy as np

    parts = {}
    items = components.items
    for name, run, residual in (
        ("agent_a", components.run_a, components.residual_a),
        ("agent_b", components.run_b, components.residual_b),
    ):
        table = stats.RunTable(runs, items, np.asarray(items * run + residual), np.asarray(residual))
        parts[name] = table.part()
    over_items = components.item + (components.residual_a + components.residual_b) / runs
    parts["items"] = stats.Part(np.asarray(over_items / items), np.asarray(float(max(1, items - 1))))
    return stats.Estimate(np.asarray(0.0), parts)


def smallest_difference(components: Sequence[Components], runs: int, alpha: float = stats.ALPHA, power: float = 0.5) -> float:
    """Return the smallest true difference (mean over the tasks) that ``runs`` runs per agent show.

    Args:
        components: one for each task.
        runs: runs per agent on each task, at least 2.
        alpha: two-sided level.
        power: how often it is shown. 0.5: a difference observed to be that large is just shown.
    """
    estimate = stats.over_tasks([expected(c, runs) for c in components])
    deviation = math.sqrt(float(estimate.variance))
    return float(estimate.half_width(alpha)) + stats.t_quantile(power, float(estimate.df)) * deviation


def runs_needed(
    components: Sequence[Components], difference: float, alpha: float = stats.ALPHA, power: float = 0.5
) -> int | None:
    """Return the least number of runs per agent and task that shows ``difference``, or None where no number up to 1000 does."""
    if smallest_difference(components, MOST_RUNS, alpha, power) > abs(difference):
        return None
    low, high = 1, MOST_RUNS  # low does not show it, high does; more runs never show less
    while high - low > 1:
        middle = (low + high) // 2
        if smallest_difference(components, middle, alpha, power) <= abs(difference):
            high = middle
        else:
            low = middle
    return high
