"""Which runs of two agents may be compared: their names, the tasks and settings they share, and what must be said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analysis import stats
from harness.analysis.groups import Group, groups_on, on_each_task, repeated_seeds, tasks_of, told_apart
from harness.analysis.measurement import Measurement, Measurements, require_same_items
from harness.analysis.plan import Components, components_of
from harness.analysis.tables import difference_of
from harness.spec.errors import NotFoundError, UsageError


@dataclass(frozen=True)
class Pair:
    """The tables of both agents on one task."""

    task: str
    runs_a: list[Measurement]
    runs_b: list[Measurement]
    estimate: stats.Estimate
    components: Components | None
    setting: str

    @property
    def single(self) -> bool:
        """Whether one of the agents has a single run."""
        return min(len(self.runs_a), len(self.runs_b)) < 2


@dataclass(frozen=True)
class Found:
    """Two agents with the tasks on which they may be compared."""

    a: str
    b: str
    pairs: list[Pair]
    warnings: list[str]


def find_pairs(measured: Measurements, a: str, b: str, task: str | None, mix: bool) -> Found:
    """Collect the tasks on which both agents have runs that may be compared.

    Raises:
        NotFoundError: no such agent or task was measured.
        UsageError: the agents are the same, were scored on different items, or share no task in one setting.
    """
    a, b = _known_agent(a, measured.measurements), _known_agent(b, measured.measurements)
    if a == b:
        raise UsageError(f"{a} cannot be compared with itself", hint="name two agents")
    warnings = list(measured.warnings)
    pairs: list[Pair] = []
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
        warnings.append("runs in which cheating was found count as the base model's score at most")
    return Found(a, b, pairs, warnings)


def _unlike_minds(pairs: Sequence[Pair], a: str, b: str) -> list[str]:
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


def bare_name(shown: str) -> str:
    """Return an agent's name (a variant's with what tells it apart) without version and backbone."""
    return shown.partition("@")[0].partition(" [")[0]


def _known_agent(name: str, measurements: Sequence[Measurement]) -> str:
    """Return the name as it is written here: `-` and `_` are alike, and so is the order in which a variant's parameters stand.

    An agent's bare name stands for its only variant, where it did not run as it comes.
    """
    known = sorted({m.agent for m in measurements})
    bare = bare_name(name)
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
    fitting = [shown for shown in group.agents if shown == agent or bare_name(shown) == agent]
    return sorted(fitting, key=lambda shown: max(m.created for m in group.agents[shown]), reverse=True)


def _pair(group: Group, a: str, b: str, mix: bool, warnings: list[str]) -> Pair:
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
    return Pair(
        task=group.task,
        runs_a=runs_a,
        runs_b=runs_b,
        estimate=difference_of(runs_a, runs_b),
        components=components_of(runs_a, runs_b) if several else None,
        setting=f"other {', '.join(group.differs)}" if group.differs else "",
    )
