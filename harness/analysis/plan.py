"""How many runs would tell: power from variance components, before money is spent and after."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from pydantic import Field

from harness.analysis import stats
from harness.analysis.groups import groups_on
from harness.analysis.measurement import Measurement, measurements_from
from harness.analysis.tables import difference_of, score_table, table_of
from harness.spec.base import Spec
from harness.spec.result import RunResult
from harness.spec.summary import Summaries

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
    item_df: float = Field(gt=0, description="degrees of freedom of the items' share; N − 1 where the task has one sub-set")


# For tasks without earlier runs. Two seeds of one fine-tuning recipe on 200 items differed by 12 points, an SD of about 0.08.
# Answers are taken as right or wrong with probability one half (variance 0.25, the largest there is), half of it alike in all
# runs of an agent, and agents' item effects as correlated by one half.
_ASSUMED = Components(items=1, run_a=0.08**2, run_b=0.08**2, residual_a=0.125, residual_b=0.125, item=0.125, item_df=1)


def components_of(a: Sequence[Measurement], b: Sequence[Measurement]) -> Components:
    """Estimate the components from two agents' runs on the same items, at least two runs each."""
    of_a, of_b = stats.run_table(score_table(a)), stats.run_table(score_table(b))
    items = of_a.items
    over_items = difference_of(a, b).parts["items"]
    observed = float(over_items.variance) * items
    noise = float(of_a.residual) / of_a.runs + float(of_b.residual) / of_b.runs
    return Components(
        items=items,
        run_a=max(0.0, float(of_a.between - of_a.residual)) / items,
        run_b=max(0.0, float(of_b.between - of_b.residual)) / items,
        residual_a=float(of_a.residual),
        residual_b=float(of_b.residual),
        item=max(0.0, observed - noise),
        item_df=float(over_items.df),
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
    parts["items"] = stats.Part(np.asarray(over_items / items), np.asarray(components.item_df))
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


class PlanRow(Spec):
    """What so many runs per agent could show on one task."""

    task: str
    runs: int
    smallest_difference: float | None = Field(
        description="shown if it is observed; None: a single run shows nothing about agents, or not even the largest there is"
    )
    smallest_difference_80: float | None = Field(
        description="true difference that is shown four times in five; None: not even the largest there is"
    )
    basis: str = Field(description="where the variances come from")


class Plan(Spec):
    """Power of a batch, by task and over the tasks."""

    rows: tuple[PlanRow, ...]
    overall: PlanRow | None = None


def plan(results: Summaries | Iterable[RunResult], items: Mapping[str, int], runs: int) -> Plan:
    """Say what ``runs`` runs per agent could show on each task, before any of them is made.

    Variances come from earlier runs on the task in its newest setting, of agents with at least two runs that are not all alike.
    Where there are none they are assumed, and ``basis`` says so.

    Args:
        results: earlier runs, of any agents.
        items: task id → number of hidden items, for every task of the plan.
        runs: runs per agent on each task.
    """
    measured = measurements_from(results).measurements
    components: list[Components] = []
    rows: list[PlanRow] = []
    for task, count in items.items():
        found, basis = _known_components(task, measured, count)
        components.append(found)
        rows.append(_plan_row(task, [found], runs, basis))
    overall = _plan_row("all tasks", components, runs, "the mean over the tasks above") if len(rows) > 1 else None
    return Plan(rows=tuple(rows), overall=overall)


def _plan_row(task: str, components: Sequence[Components], runs: int, basis: str) -> PlanRow:
    if runs < 2:
        basis = "one run per agent says nothing about run-to-run variance; plan at least two"
        return PlanRow(task=task, runs=runs, smallest_difference=None, smallest_difference_80=None, basis=basis)
    return PlanRow(
        task=task,
        runs=runs,
        smallest_difference=_possible(smallest_difference(components, runs)),
        smallest_difference_80=_possible(smallest_difference(components, runs, power=0.8)),
        basis=basis,
    )


def _possible(difference: float) -> float | None:
    """Return a difference that there can be: scores lie on 0-1."""
    return difference if difference <= 1.0 else None


def _known_components(task: str, measured: Sequence[Measurement], items: int) -> tuple[Components, str]:
    """Average the components over the agents (pairs of agents for the items) that were measured on the task before."""
    groups = groups_on(task, measured)
    several = {a: runs for a, runs in groups[0].agents.items() if len(runs) > 1} if groups else {}
    # An agent that hands in the same model each time (the base model) says nothing about agents that do not.
    agents = {a: runs for a, runs in several.items() if bool((table_of(runs) != table_of(runs)[0]).any())}
    if not agents:
        return _ASSUMED.model_copy(update={"items": items, "item_df": max(1, items - 1)}), (
            f"assumed: run-to-run SD {_ASSUMED.run_a**0.5:.2f}, answers right or wrong; no agent has two runs on this task yet"
        )
    pairs = list(combinations(agents.values(), 2)) or [(x, x) for x in agents.values()]
    known = [components_of(a, b) for a, b in pairs]
    run = _mean([v for c in known for v in (c.run_a, c.run_b)])
    residual = _mean([v for c in known for v in (c.residual_a, c.residual_b)])
    item = _mean([c.item for c in known]) if len(agents) > 1 else _ASSUMED.item
    found = Components(
        items=items, run_a=run, run_b=run, residual_a=residual, residual_b=residual, item=item, item_df=max(1, items - 1)
    )
    return found, f"{sum(len(x) for x in agents.values())} earlier runs of {', '.join(agents)}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
