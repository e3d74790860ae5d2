"""Two agents: is the one better, by how much, and how many runs would tell?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from pydantic import Field

from harness.analysis import stats
from harness.analysis.counted import counted_measurements
from harness.analysis.groups import Group, groups_on, on_each_task, repeated_seeds, tasks_of, told_apart
from harness.analysis.headings import measured_by
from harness.analysis.measurement import LeftOut, Measurement, Measurements, require_same_items
from harness.analysis.plan import Components, components_of, runs_needed
from harness.analysis.tables import difference_of, item_means
from harness.spec.base import Spec
from harness.spec.errors import NotFoundError, UsageError
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


@dataclass(frozen=True)
class _Pair:
    """The tables of both agents on one task."""

    task: str
    runs_a: list[Measurement]
    runs_b: list[Measurement]
    estimate: stats.Estimate
    components: Components | None
    setting: str

    @property
    def single(self) -> bool:
        return min(len(self.runs_a), len(self.runs_b)) < 2


@dataclass(frozen=True)
class _Found:
    """Two agents with the tasks on which they may be compared."""

    a: str
    b: str
    pairs: list[_Pair]
    warnings: list[str]


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
    return _judge_together([_find_pairs(measured, a, b, task, mix)], measured)[0]


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
            found.append(_find_pairs(measured, a, b, task, mix=False))
        except UsageError as exc:
            refused.append(exc.message)
    return _judge_together(found, measured), refused


def _find_pairs(measured: Measurements, a: str, b: str, task: str | None, mix: bool) -> _Found:
    """Collect the tasks on which both agents have runs that may be compared."""
    a, b = _known_agent(a, measured.measurements), _known_agent(b, measured.measurements)
    if a == b:
        raise UsageError(f"{a} cannot be compared with itself", hint="name two agents")
    warnings = list(measured.warnings)
    pairs: list[_Pair] = []
    by_task = on_each_task(measured.measurements)
    for name in tasks_of(measured.measurements, task):
        why_not: list[str] = []
        group = _choose_group(groups_on(name, told_apart(by_task[name]), mix), a, b, why_not)
        if group is None and (group := _as_named(groups_on(name, by_task[name]), a, b)):
            why_not = [f"{name}: {a} and {b} differ in {', '.join(_named(group, a, b))}, as their names say"]
        warnings += why_not
        if group is not None:
            pairs.append(_pair(group, a, b, mix, warnings))
    warnings += _unlike_minds(pairs, a, b)
    if not pairs:
        raise UsageError(
            f"{a} and {b} have no runs that may be compared" + (f" on {task}" if task else "") + f": {'; '.join(warnings)}",
            hint="run both on one task with the same settings, or ask for mixed settings with --mix",
        )
    if any(m.flagged for pair in pairs for m in (*pair.runs_a, *pair.runs_b)):
        warnings.append("runs in which cheating was found count as the base model's score")
    return _Found(a, b, pairs, warnings)


def _unlike_minds(pairs: Sequence[_Pair], a: str, b: str) -> list[str]:
    """Say where one agent thinks with a language model and the other does not, or did not although it requires one."""
    found = []
    for pair in pairs:
        minds = [{m.setting.backbone for m in runs} for runs in (pair.runs_a, pair.runs_b)]
        for (agent, own), (other, others) in zip(((a, minds[0]), (b, minds[1])), ((b, minds[1]), (a, minds[0])), strict=True):
            if None not in own and others == {None}:
                found.append(f"{pair.task}: {agent} thinks with a backbone, {other} with none")
        for agent, runs in ((a, pair.runs_a), (b, pair.runs_b)):
            if silent := sum(m.silent for m in runs):
                found.append(f"{pair.task}: {agent} requires a backbone and never called it in {silent} of {len(runs)} runs")
    return found


def _judge_together(found: Sequence[_Found], measured: Measurements) -> list[Comparison]:
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
                left_out=tuple(out for out in measured.left_out if out.agent in (_bare(one.a), _bare(one.b))),
                warnings=tuple(dict.fromkeys(one.warnings)),
            )
        )
    return comparisons


def _bare(shown: str) -> str:
    """Return an agent's name (a variant's with what tells it apart) without version and backbone."""
    return shown.partition("@")[0].partition(" [")[0]


def _known_agent(name: str, measurements: Sequence[Measurement]) -> str:
    """Return the name as it is written here: `-` and `_` are alike, and so is the order in which a variant's parameters stand.

    An agent's bare name stands for its only variant, where it did not run as it comes.
    """
    known = sorted({m.agent for m in measurements})
    bare = _bare(name)
    wanted, *words = bare.split() or [""]
    variants = [agent for agent in known if agent.split()[0].replace("-", "_") == wanted.replace("-", "_")]
    alike = [agent for agent in variants if sorted(agent.split()[1:]) == sorted(words)]
    if not alike and not words:
        alike = variants
    if len(alike) > 1:
        raise UsageError(f"{wanted} ran in several variants: {', '.join(alike)}", hint=f'name one, as "{alike[0]}"')
    if alike:
        return alike[0] + name[len(bare) :]
    raise NotFoundError.named("agent with runs that count", name, known)


def _as_named(groups: Sequence[Group], a: str, b: str) -> Group | None:
    """Take the newest group in which both ran in settings that differ only in what their names say."""
    return next((g for g in groups if _versions(g, a) and _versions(g, b)), None)


def _named(group: Group, a: str, b: str) -> list[str]:
    """Return in what the settings of both differ, of what their names say."""
    settings = [m.setting for shown in (*_versions(group, a), *_versions(group, b)) for m in group.agents[shown]]
    return [field for field in group.setting.varied if len({getattr(setting, field) for setting in settings} - {None}) > 1]


def _choose_group(groups: Sequence[Group], a: str, b: str, warnings: list[str]) -> Group | None:
    """Take the newest group in which both agents ran; say which others there are."""
    fitting = [g for g in groups if _versions(g, a) and _versions(g, b)]
    task = groups[0].task
    if not fitting:
        ran_a, ran_b = (any(_versions(g, agent) for g in groups) for agent in (a, b))
        if ran_a and ran_b:
            fields = sorted({f for g in groups for f in g.differs})
            warnings.append(f"{task}: runs of {a} and {b} differ in {', '.join(fields)}")
        else:
            missing = " and ".join(agent for agent, ran in ((a, ran_a), (b, ran_b)) if not ran)
            warnings.append(f"{task}: no run of {missing} that counts")
        return None
    others = [g for g in groups if g is not fitting[0] and (_versions(g, a) or _versions(g, b))]
    if others:
        fields = sorted({f for g in others for f in g.setting.differing(fitting[0].setting)})
        warnings.append(f"{task}: runs of other settings are left out; they differ in {', '.join(fields)}")
    return fitting[0]


def _versions(group: Group, agent: str) -> list[str]:
    """Return the shown names in the group that ``agent`` may mean, the one with the newest run first."""
    fitting = [shown for shown in group.agents if shown == agent or _bare(shown) == agent]
    return sorted(fitting, key=lambda shown: max(m.created for m in group.agents[shown]), reverse=True)


def _pair(group: Group, a: str, b: str, mix: bool, warnings: list[str]) -> _Pair:
    chosen: list[list[Measurement]] = []
    for agent in (a, b):
        versions = _versions(group, agent)
        if len(versions) > 1:
            warnings.append(f"{group.task}: of {', '.join(versions)} the newest is compared, {versions[0]}")
        runs = group.agents[versions[0]]
        warnings += filter(None, [repeated_seeds(agent, runs)])
        chosen.append(runs)
    runs_a, runs_b = chosen
    require_same_items([*runs_a, *runs_b])
    if mix:
        mixed = sorted({f for m in (*runs_a, *runs_b) for f in m.setting.differing(group.setting)})
        if mixed:
            warnings.append(f"{group.task}: MIXED runs that differ in {', '.join(mixed)}; the difference may be theirs")
        for agent, runs in ((a, runs_a), (b, runs_b)):
            if len({m.agent_digest for m in runs}) > 1:
                warnings.append(f"{group.task}: MIXED several versions of {agent}")
    several = min(len(runs_a), len(runs_b)) > 1
    return _Pair(
        task=group.task,
        runs_a=runs_a,
        runs_b=runs_b,
        estimate=difference_of(runs_a, runs_b),
        components=components_of(runs_a, runs_b) if several else None,
        setting=f"other {', '.join(group.differs)}" if group.differs else "",
    )


def _task_row(pair: _Pair, p_adjusted: float, level: float) -> ComparisonRow:
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


def _wins(pair: _Pair) -> tuple[int, int]:
    """Count the items on which A's mean item score over its runs is above and below B's."""
    gaps = item_means(pair.runs_a) - item_means(pair.runs_b)
    return int((gaps > _TIE).sum()), int((gaps < -_TIE).sum())


def _overall(pairs: Sequence[_Pair], rows: Sequence[ComparisonRow]) -> ComparisonRow:
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
