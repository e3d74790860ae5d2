"""The leaderboard: agents with intervals and ranges of ranks, beside the task's yardsticks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import Field

from harness.analysis import stats
from harness.analysis.counted import counted_measurements
from harness.analysis.groups import Group, groups_on, on_each_task, repeated_seeds, tasks_of
from harness.analysis.headings import Heading, differs_from, measured_by
from harness.analysis.measurement import LeftOut, Measurement, Measurements
from harness.analysis.references import normalised_score
from harness.analysis.tables import score_of
from harness.spec.base import Spec
from harness.spec.measured import Measured
from harness.spec.result import RunResult
from harness.spec.summary import Summaries, collector_paused
from harness.store.base import Damage

OVER_TASKS = "all tasks"
SINGLE_RUN = "this model: one run says nothing about run-to-run variance"


class LeaderboardRow(Measured):
    """One agent on one task (or over all tasks) in one setting."""

    task: str
    agent: str
    runs: int
    score: float
    ci_low: float
    ci_high: float
    rank_low: int = Field(description="best rank compatible with the intervals")
    rank_high: int = Field(description="worst rank compatible with the intervals")
    flagged: int = Field(0, description="runs in which cheating was found; they count as the base model")
    silent: int = Field(0, description="runs that never called the backbone their agent requires")
    tokens: float = Field(0.0, description="charged at the backbone, mean over runs")
    dollars: float = Field(0.0, description="the same in dollars")
    left_out: int = Field(0, description="runs of the agent on the task that are no measurement")
    label: str = Field("", description="what the interval describes, where it is not the agent")
    normalised: float | None = Field(None, description="(score − base)/(reference − base), where the task gives a reference")
    setting: str = Field("", description="in what the setting differs from the newest one on the task")
    differs: str = Field("", description="the same with the values; runs of another setting stand in a table of their own")


class ReferenceLine(Measured):
    """A yardstick on the task's hidden items: no agent, no runs."""

    name: str
    score: float
    ci_low: float
    ci_high: float
    setting: str = ""
    differs: str = ""


class Leaderboard(Spec):
    """Rows by task and score, rows over all tasks where there are several, yardsticks by task."""

    rows: tuple[LeaderboardRow, ...]
    overall: tuple[LeaderboardRow, ...] = ()
    references: dict[str, tuple[ReferenceLine, ...]] = Field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()
    damaged: tuple[Damage, ...] = Field((), description="runs whose folders do not bear out what the index knows, and why")

    def tables(self) -> list[Table]:
        """Return the rows as they stand in tables: one for each task and setting, and last the one over all tasks."""
        rows: dict[Heading, list[LeaderboardRow]] = {}
        lines: dict[Heading, list[ReferenceLine]] = {}
        for row in (*self.rows, *self.overall):
            rows.setdefault(_heading(row, row.task), []).append(row)
        for task, found in self.references.items():
            for line in found:
                lines.setdefault(_heading(line, task), []).append(line)
        return [Table(heading, tuple(found), tuple(lines.get(heading, ()))) for heading, found in rows.items()]


@dataclass(frozen=True)
class Table:
    """Runs of one setting on one task (or over all tasks), under what was measured, with the task's yardsticks."""

    heading: Heading
    rows: tuple[LeaderboardRow, ...]
    lines: tuple[ReferenceLine, ...]


@collector_paused()
def leaderboard(
    results: Summaries | Iterable[RunResult], task: str | None = None, excluded: Mapping[str, str] | None = None
) -> Leaderboard:
    """Rank the agents of ``results``.

    Args:
        results: finished runs, of any batches, or their summaries; those that are no measurement are left out and counted.
        task: a task id or glob; all tasks when None.
        excluded: run id → why it is left out although it is a measurement.

    Raises:
        NotFoundError: no measured task matches ``task``.
        UsageError: runs of one task and data digest were scored on different items.
    """
    measured = counted_measurements(results, excluded)
    warnings = list(measured.warnings)
    rows: list[LeaderboardRow] = []
    references: dict[str, tuple[ReferenceLine, ...]] = {}
    newest: list[_Scored] = []
    by_task = on_each_task(measured.measurements)
    for name in tasks_of(measured.measurements, task):
        groups = groups_on(name, by_task[name])
        scored = [_Scored(group, {agent: score_of(runs) for agent, runs in group.agents.items()}) for group in groups]
        newest.append(scored[0])
        if len(groups) > 1:
            fields = sorted({f for g in groups for f in g.differs})
            warnings.append(f"{name}: runs of {len(groups)} settings are shown apart; they differ in {', '.join(fields)}")
        for group, estimates in scored:
            differs = differs_from(group.setting, groups[0].setting)
            rows += _ranked(group.task, estimates, group.agents, measured, differs=differs, group=group)
            warnings += filter(None, (repeated_seeds(agent, runs) for agent, runs in group.agents.items()))
        references[name] = tuple(line for group in groups for line in _reference_lines(group, groups[0]))
    if any(row.flagged for row in rows):
        warnings.append("runs in which cheating was found count as the base model's score at most")
    for agent in dict.fromkeys(row.agent for row in rows if row.silent):
        warnings.append(f"{agent} requires a backbone and has runs that never called it")
    warnings += _missing_from_all(newest)
    chosen = set(references)
    return Leaderboard(
        rows=tuple(rows),
        overall=tuple(_overall(newest, measured)) if len(newest) > 1 else (),
        references=references,
        left_out=tuple(out for out in measured.left_out if task is None or out.task in chosen),
        warnings=tuple(dict.fromkeys(warnings)),
    )


class _Scored(NamedTuple):
    """A group with its agents' scores, which its own rows and those over all tasks are made of."""

    group: Group
    estimates: dict[str, stats.Estimate]


def _overall(scored: Sequence[_Scored], measured: Measurements) -> list[LeaderboardRow]:
    """Make the rows over all tasks, for agents that were measured on each, in the newest setting of each."""
    groups = [one.group for one in scored]
    everywhere = set.intersection(*(set(g.agents) for g in groups))
    estimates = {a: stats.over_tasks([one.estimates[a] for one in scored]) for a in sorted(everywhere)}
    runs = {a: [m for g in groups for m in g.agents[a]] for a in everywhere}
    single = {a for a in everywhere if any(len(g.agents[a]) < 2 for g in groups)}
    return _ranked(OVER_TASKS, estimates, runs, measured, single=single)


def _missing_from_all(scored: Sequence[_Scored]) -> list[str]:
    """Say which agents do not stand in the rows over all tasks, and on which tasks each was not measured."""
    if len(scored) < 2:
        return []
    gaps = {
        agent: [one.group.task for one in scored if agent not in one.group.agents]
        for agent in sorted({agent for one in scored for agent in one.group.agents})
    }
    said = [f"{agent} is not among {OVER_TASKS}: not measured on {', '.join(tasks)}" for agent, tasks in gaps.items() if tasks]
    return [f"{one} in the newest setting there" for one in said]


def _ranked(
    task: str,
    estimates: dict[str, stats.Estimate],
    runs: dict[str, list[Measurement]],
    measured: Measurements,
    *,
    differs: str = "",
    group: Group | None = None,
    single: set[str] | None = None,
) -> list[LeaderboardRow]:
    single = {a for a in estimates if len(runs[a]) < 2} if single is None else single
    agents = sorted(estimates, key=lambda a: (-float(estimates[a].value), a))
    intervals = [(-math.inf, math.inf) if a in single else _bounds(estimates[a]) for a in agents]
    what = measured_by(m for found in runs.values() for m in found).model_dump()
    left = Counter(out.agent for out in measured.left_out if group is None or out.task == task)
    rows = []
    for agent, ranks in zip(agents, stats.rank_ranges(intervals), strict=True):
        value = float(estimates[agent].value)
        low, high = _interval(estimates[agent], runs[agent])
        name = runs[agent][0].agent
        rows.append(
            LeaderboardRow(
                **what,
                task=task,
                agent=agent,
                runs=len(runs[agent]),
                score=value,
                ci_low=low,
                ci_high=high,
                rank_low=ranks[0],
                rank_high=ranks[1],
                flagged=sum(m.flagged for m in runs[agent]),
                silent=sum(m.silent for m in runs[agent]),
                tokens=sum(m.tokens for m in runs[agent]) / len(runs[agent]),
                dollars=sum(m.dollars for m in runs[agent]) / len(runs[agent]),
                left_out=left[name],
                label=SINGLE_RUN if agent in single else "",
                normalised=normalised_score(value, runs[agent][0].references) if group else None,
                setting=_setting(group) if group else "",
                differs=differs,
            )
        )
    return rows


def _interval(estimate: stats.Estimate, runs: Sequence[Measurement]) -> tuple[float, float]:
    """Return a row's interval. A single run's is the one recorded with its grade, which `dojo status` and `show` print too."""
    return (runs[0].ci_low, runs[0].ci_high) if len(runs) == 1 else _bounds(estimate)


def _bounds(estimate: stats.Estimate) -> tuple[float, float]:
    """Return the interval of a score, cut at the ends of the scale."""
    low, high = estimate.interval()
    return max(0.0, float(low)), min(1.0, float(high))


def _heading(row: LeaderboardRow | ReferenceLine, task: str) -> Heading:
    return Heading(row.heading(task), f"other {row.differs}" if row.differs else "")


def _setting(group: Group) -> str:
    return f"other {', '.join(group.differs)}" if group.differs else ""


def _reference_lines(group: Group, newest_group: Group) -> list[ReferenceLine]:
    """Take the yardsticks of the newest run with each base model: they belong to it and the data, not to a run."""
    newest: dict[str, Measurement] = {}
    for m in sorted(group.runs, key=lambda m: m.created):
        newest[m.setting.base_model] = m
    what, differs = measured_by(group.runs).model_dump(), differs_from(group.setting, newest_group.setting)
    return [
        ReferenceLine(
            **what,
            name=r.name if len(newest) == 1 else f"{r.name} of {base_model.partition(' ')[0]}",
            score=r.scores.primary.value,
            ci_low=r.ci_low,
            ci_high=r.ci_high,
            setting=_setting(group),
            differs=differs,
        )
        for base_model, m in sorted(newest.items())
        for r in m.references
    ]
