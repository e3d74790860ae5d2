"""Two agents: is the one better, by how much, and how many runs would tell?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Literal

from pydantic import Field

from harness.analysis import stats
from harness.analysis.counted import counted_measurements
from harness.analysis.headings import measured_by
from harness.analysis.measurement import LeftOut, Measurements
from harness.analysis.pairing import Found, Pair, bare_name, find_pairs
from harness.analysis.plan import runs_needed
from harness.analysis.tables import item_means
from harness.spec.base import Spec
from harness.spec.errors import UsageError
from harness.spec.measured import Measured, measured_together
from harness.spec.result import RunResult
from harness.spec.summary import Summaries, collector_paused
from harness.store.base import Damage

Judgement = Literal["better", "worse", "not_distinguishable"]

ONE_RUN = "one run says nothing about run-to-run variance"
OVER_TASKS = "all tasks"
# Per-item means over runs that are closer than this are a tie (rounding only).
_TIE = 1e-9


class ComparisonRow(Measured):
    """A minus B on one task, or the mean over tasks."""

    task: str
    difference: float
    ci_low: float
    ci_high: float
    p: float = Field(description="two-sided t")
    p_adjusted: float = Field(description="Holm over the rows shown together")
    ci_adjusted_low: float = Field(description="the interval that the verdict looks at")
    ci_adjusted_high: float
    verdict: Judgement = Field(description="about agent A")
    reason: str = Field(description="the verdict in a sentence")
    label: str = Field("", description="what the interval describes, where it is not the agents")
    win: int = Field(description="items on which A's mean over runs is higher")
    tie: int
    loss: int
    runs_a: int
    runs_b: int
    flagged: int = Field(0, description="runs of either in which cheating was found; they count as the base model")
    smallest_difference: float = Field(description="smallest difference that these runs could have shown")
    runs_needed: int | None = Field(description="runs per agent that would show the difference observed; None: no number would")
    variance: dict[str, float] = Field(description="of the difference, by source: agent_a and agent_b (run to run), items")
    setting: str = ""


class Comparison(Spec):
    """Agent ``a`` against agent ``b``."""

    a: str
    b: str
    rows: tuple[ComparisonRow, ...]
    overall: ComparisonRow
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()
    damaged: tuple[Damage, ...] = Field((), description="runs whose folders do not bear out what the index knows, and why")

    @property
    def shown(self) -> tuple[ComparisonRow, ...]:
        """The rows by task, and the one over tasks where there are several."""
        return self.rows if self.overall in self.rows else (*self.rows, self.overall)


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
    """Adjust all rows by Holm, as they are shown together, and judge them."""
    p_values = [float(pair.estimate.p_value()) for one in found for pair in one.pairs]
    tests = iter(zip(stats.holm(p_values), stats.holm_levels(p_values), strict=True))
    comparisons = []
    for one in found:
        rows = [_task_row(pair, *next(tests)) for pair in one.pairs]
        comparisons.append(
            Comparison(
                a=one.a,
                b=one.b,
                rows=tuple(rows),
                overall=rows[0] if len(rows) == 1 else _overall(one.pairs, rows),
                left_out=tuple(out for out in measured.left_out if out.agent in (bare_name(one.a), bare_name(one.b))),
                warnings=tuple(dict.fromkeys(one.warnings)),
            )
        )
    return comparisons


def _task_row(pair: Pair, p_adjusted: float, level: float) -> ComparisonRow:
    value = float(pair.estimate.value)
    win, loss = _wins(pair)
    return _row(
        pair.task,
        pair.estimate,
        p_adjusted,
        level,
        runs_needed([pair.components], value, level) if pair.components else None,
        what=measured_by([*pair.runs_a, *pair.runs_b]),
        single=pair.single,
        win=win,
        tie=len(pair.runs_a[0].items.ids) - win - loss,
        loss=loss,
        runs_a=len(pair.runs_a),
        runs_b=len(pair.runs_b),
        flagged=sum(m.flagged for m in (*pair.runs_a, *pair.runs_b)),
        setting=pair.setting,
    )


def _wins(pair: Pair) -> tuple[int, int]:
    """Count the items on which A's mean item score over its runs is above and below B's."""
    gaps = item_means(pair.runs_a) - item_means(pair.runs_b)
    return int((gaps > _TIE).sum()), int((gaps < -_TIE).sum())


def _overall(pairs: Sequence[Pair], rows: Sequence[ComparisonRow]) -> ComparisonRow:
    """Make the row over the fixed set of tasks: one question of its own, hence not adjusted for the rows by task."""
    estimate = stats.over_tasks([pair.estimate for pair in pairs])
    components = [pair.components for pair in pairs if pair.components]
    single = any(pair.single for pair in pairs)
    needed = None if single else runs_needed(components, float(estimate.value), stats.ALPHA)
    return _row(
        OVER_TASKS,
        estimate,
        float(estimate.p_value()),
        stats.ALPHA,
        needed,
        what=measured_together(rows),
        single=single,
        win=sum(row.win for row in rows),
        tie=sum(row.tie for row in rows),
        loss=sum(row.loss for row in rows),
        runs_a=sum(row.runs_a for row in rows),
        runs_b=sum(row.runs_b for row in rows),
        flagged=sum(row.flagged for row in rows),
        setting="",
    )


def _row(
    task: str,
    estimate: stats.Estimate,
    p_adjusted: float,
    level: float,
    needed: int | None,
    *,
    what: Measured,
    single: bool,
    win: int,
    tie: int,
    loss: int,
    runs_a: int,
    runs_b: int,
    flagged: int,
    setting: str,
) -> ComparisonRow:
    value = float(estimate.value)
    low, high = (float(bound) for bound in estimate.interval())
    adjusted_low, adjusted_high = (float(bound) for bound in estimate.interval(level))
    smallest = float(estimate.half_width(level))
    verdict, reason = judge(value, adjusted_low, adjusted_high, smallest, needed, single)
    return ComparisonRow(
        **what.model_dump(),
        task=task,
        difference=value,
        ci_low=low,
        ci_high=high,
        p=float(estimate.p_value()),
        p_adjusted=p_adjusted,
        ci_adjusted_low=adjusted_low,
        ci_adjusted_high=adjusted_high,
        verdict=verdict,
        reason=reason,
        label=f"these models: {ONE_RUN}" if single else "",
        win=win,
        tie=tie,
        loss=loss,
        runs_a=runs_a,
        runs_b=runs_b,
        flagged=flagged,
        smallest_difference=smallest,
        runs_needed=needed,
        variance=stats.by_source(estimate),
        setting=setting,
    )


def judge(difference: float, low: float, high: float, smallest: float, needed: int | None, single: bool) -> tuple[Judgement, str]:
    """Return the verdict about A and its reason.

    Args:
        difference: A's score minus B's.
        low: lower bound of the adjusted interval.
        high: upper bound of the adjusted interval.
        smallest: smallest difference these runs could have shown.
        needed: runs per agent that would show the difference observed, or None.
        single: whether one of the agents has a single run.
    """
    could = f"these runs could have shown {smallest:.3f}"
    if single:
        return "not_distinguishable", f"{ONE_RUN}; run each agent at least twice"
    if low > 0 or high < 0:
        return ("better" if difference > 0 else "worse"), f"the interval excludes 0; {could}"
    if needed is None:
        return "not_distinguishable", f"{could}; no number of runs would show {difference:+.3f} on these items"
    return "not_distinguishable", f"{could}; {needed} runs per agent would show {difference:+.3f}"
