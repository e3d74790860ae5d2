"""Two agents: is the one better, by how much, and how many runs would tell?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from harness.analysis import stats
from harness.analysis.comparison import (
    ONE_RUN,
    OVER_TASKS,
    Comparison,
    ComparisonRow,
    Models,
    headings,
    reason_of,
    reason_of_models,
    verdict_of,
)
from harness.analysis.counted import counted_measurements
from harness.analysis.headings import measured_by
from harness.analysis.measurement import LeftOut, Measurements
from harness.analysis.pairing import Found, Pair, bare_name, find_pairs
from harness.analysis.plan import runs_needed
from harness.analysis.tables import won_and_lost
from harness.spec.errors import UsageError
from harness.spec.measured import measured_together
from harness.spec.result import RunResult
from harness.spec.summary import NO_MEASUREMENT, Summaries, collector_paused

__all__ = ["Comparison", "ComparisonRow", "Models", "compare", "compare_all", "headings"]

# Every primary score lies on 0-1, so no difference lies beyond this.
_MOST = 1.0


@collector_paused()
def compare(
    results: Summaries | Iterable[RunResult],
    a: str,
    b: str,
    task: str | None = None,
    mix: bool = False,
    excluded: Mapping[str, str] | None = None,
) -> Comparison:
    """Compare agent ``a`` with agent ``b`` on every task on which both were measured in one setting.

    Args:
        results: finished runs, of any batches and agents, or their summaries.
        a: an agent's name as the leaderboard shows it; of several versions of an agent the one with the newest run is taken.
        b: the other agent.
        task: a task id or glob; all tasks when None.
        mix: compare runs of different settings (budget, image, base model, backbone, profile, digests) too, with a warning.
        excluded: run id → why it is left out although it is a measurement.

    Raises:
        NotFoundError: no such agent or task was measured.
        UsageError: the agents are the same, were scored on different items, or share no task in one setting.
    """
    measured = counted_measurements(results, excluded)
    return _judge_together([find_pairs(measured, a, b, task, mix)], measured)[0]


@collector_paused()
def compare_all(
    results: Summaries | Iterable[RunResult], task: str | None = None, excluded: Mapping[str, str] | None = None
) -> tuple[list[Comparison], list[str]]:
    """Compare every agent with every other, for a page that shows them all: p values are adjusted over all rows of all pairs.

    Args:
        results: finished runs.
        task: a task id or glob; all tasks when None.
        excluded: run id → why it is left out although it is a measurement.

    Returns:
        The comparisons, the leading agent first in each, and a sentence for each pair that cannot be compared.
    """
    measured = counted_measurements(results, excluded)
    means: dict[str, list[float]] = {}
    for m in measured.measurements:
        means.setdefault(m.agent, []).append(m.primary)
    found, refused = [], []
    for a, b in combinations(sorted(means, key=lambda agent: -sum(means[agent]) / len(means[agent])), 2):
        try:
            found.append(find_pairs(measured, a, b, task, mix=False))
        except UsageError as exc:
            refused.append(exc.message)
    return _judge_together(found, measured), refused


def _judge_together(found: Sequence[Found], measured: Measurements) -> list[Comparison]:
    """Judge all rows; those that can be decided are adjusted by Holm, as they are shown together.

    A row with a single run cannot, whatever its p: it would only cost the others their level.
    """
    p_values = [float(pair.estimate.p_value()) for one in found for pair in one.pairs if not pair.single]
    tests = iter(zip(stats.holm(p_values), stats.holm_levels(p_values), strict=True))
    comparisons = []
    for one in found:
        left_out = [out for out in measured.left_out if out.agent in (bare_name(one.a), bare_name(one.b))]
        rows = [_task_row(one, pair, left_out, None if pair.single else next(tests)) for pair in one.pairs]
        comparisons.append(
            Comparison(
                a=one.a,
                b=one.b,
                rows=tuple(rows),
                overall=rows[0] if len(rows) == 1 else _overall(one.pairs, rows),
                adjusted=len(p_values),
                left_out=tuple(left_out),
                warnings=tuple(dict.fromkeys(one.warnings)),
            )
        )
    return comparisons


def _task_row(one: Found, pair: Pair, left_out: Sequence[LeftOut], test: tuple[float, float] | None) -> ComparisonRow:
    """Make the row of a task; ``test``: its adjusted p and the level it had to meet, None where a single run cannot be judged."""
    win, loss = won_and_lost(pair.runs_a, pair.runs_b)
    what, if_zero = _left_out(one, pair, left_out)
    facts = {
        **measured_by([*pair.runs_a, *pair.runs_b]).model_dump(),
        "task": pair.task,
        "win": win,
        "tie": len(pair.runs_a[0].items.ids) - win - loss,
        "loss": loss,
        "runs_a": len(pair.runs_a),
        "runs_b": len(pair.runs_b),
        "flagged": sum(m.flagged for m in (*pair.runs_a, *pair.runs_b)),
        "left_out": what,
        "difference_if_zero": if_zero,
        "setting": pair.setting,
    }
    if test is None:
        return _open_row(pair.estimate, _to_settle(one, pair), facts)
    needed = runs_needed([pair.components], float(pair.estimate.value), test[1]) if pair.components else None
    return _decided_row(pair.estimate, *test, needed, facts)


def _left_out(one: Found, pair: Pair, left_out: Sequence[LeftOut]) -> tuple[str, float | None]:
    """Say which runs of each agent on the task are no measurement and why, and the difference had they all scored 0."""
    said, means, dead = [], [], 0
    for agent, runs in ((one.a, pair.runs_a), (one.b, pair.runs_b)):
        lost = [
            out for out in left_out if out.agent == bare_name(agent) and out.task == pair.task and NO_MEASUREMENT in out.reason
        ]
        means.append(sum(m.primary for m in runs) / (len(runs) + len(lost)))
        dead += len(lost)
        if lost:
            causes = ", ".join(dict.fromkeys(out.reason.partition(NO_MEASUREMENT)[0].strip() for out in lost))
            said.append(f"{agent}: {len(lost)} of {len(runs) + len(lost)} runs left out ({causes})")
    if not dead:
        return "", None
    if_zero = means[0] - means[1]
    return f"{'; '.join(said)}; were they all 0 the difference would be {if_zero:+.3f}", if_zero


def _to_settle(one: Found, pair: Pair) -> str:
    """Say which runs, one more of each agent that has a single one, would let the agents be judged, and how they are made."""
    singles = [(agent, runs[0]) for agent, runs in ((one.a, pair.runs_a), (one.b, pair.runs_b)) if len(runs) < 2]
    more = " and ".join(f"1 more run of {agent}" for agent, _ in singles)
    agents = " ".join(f"--agent {bare_name(agent)}" for agent, _ in singles)
    if any(" " in bare_name(agent) for agent, _ in singles):
        return more  # a variant is planned with its parameters
    seed = max(run.seed for _, run in singles) + 1
    return f"{more} (dojo submit {agents} --task {pair.task} --seed {seed})"


def _overall(pairs: Sequence[Pair], rows: Sequence[ComparisonRow]) -> ComparisonRow:
    """Make the row over the fixed set of tasks: one question of its own, hence not adjusted for the rows by task."""
    estimate = stats.over_tasks([pair.estimate for pair in pairs])
    facts = {
        **measured_together(rows).model_dump(),
        "task": OVER_TASKS,
        "win": sum(row.difference > 0 for row in rows),
        "tie": sum(row.difference == 0 for row in rows),
        "loss": sum(row.difference < 0 for row in rows),
        "runs_a": sum(row.runs_a for row in rows),
        "runs_b": sum(row.runs_b for row in rows),
        "flagged": sum(row.flagged for row in rows),
    }
    if any(pair.single for pair in pairs):
        tasks = ", ".join(pair.task for pair in pairs if pair.single)
        return _open_row(estimate, f"a second run of each agent on {tasks}", facts)
    needed = runs_needed([pair.components for pair in pairs if pair.components], float(estimate.value), stats.ALPHA)
    return _decided_row(estimate, float(estimate.p_value()), stats.ALPHA, needed, facts)


def _decided_row(
    estimate: stats.Estimate, p_adjusted: float, level: float, needed: int | None, facts: Mapping[str, Any]
) -> ComparisonRow:
    """Make a row about agents that have several runs each."""
    value, smallest = float(estimate.value), float(estimate.half_width(level))
    shown = smallest if smallest <= _MOST else None
    (low, high), (adjusted_low, adjusted_high) = _interval(estimate, stats.ALPHA), _interval(estimate, level)
    verdict = verdict_of(value, adjusted_low, adjusted_high)
    return ComparisonRow(
        **facts,
        difference=value,
        ci_low=low,
        ci_high=high,
        p=float(estimate.p_value()),
        p_adjusted=p_adjusted,
        ci_adjusted_low=adjusted_low,
        ci_adjusted_high=adjusted_high,
        verdict=verdict,
        reason=reason_of(verdict, value, shown, needed),
        smallest_difference=shown,
        runs_needed=needed,
        variance=stats.by_source(estimate),
    )


def _open_row(estimate: stats.Estimate, to_settle: str, facts: Mapping[str, Any]) -> ComparisonRow:
    """Make a row of which one run only is known: it says what the models are, and of the agents nothing."""
    value = float(estimate.value)
    low, high = _interval(estimate, stats.ALPHA)
    models = Models(p=float(estimate.p_value()), ci_low=low, ci_high=high, verdict=verdict_of(value, low, high))
    return ComparisonRow(
        **facts,
        difference=value,
        ci_low=None,
        ci_high=None,
        p=None,
        p_adjusted=None,
        ci_adjusted_low=None,
        ci_adjusted_high=None,
        verdict="not_distinguishable",
        reason=reason_of_models(models, value, to_settle),
        models=models,
        label=f"these models: {ONE_RUN}",
        smallest_difference=None,
        runs_needed=None,
        variance=stats.by_source(estimate),
    )


def _interval(estimate: stats.Estimate, level: float) -> tuple[float, float]:
    """Return an interval of a difference, cut where no difference can lie."""
    low, high = (float(bound) for bound in estimate.interval(level))
    return max(-_MOST, low), min(_MOST, high)
