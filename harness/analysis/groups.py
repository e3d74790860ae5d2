"""Which runs may stand side by side: grouped by setting, and by who the agent is within a setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from operator import attrgetter

from harness.analysis.measurement import Measurement, Setting
from harness.spec.errors import NotFoundError


@dataclass(frozen=True)
class Group:
    """Runs on one task in one setting, by agent in order of name.

    Attributes:
        task: the task's id.
        setting: what all runs of the group share, but for what `Setting.varied` names; of the newest run.
        agents: shown name → the agent's runs, by seed. An agent of which there are several versions (directory, parameters) or
            backbones in the group appears once for each, told apart in its shown name.
        differs: in which fields the group differs from the newest one on the task; empty for the newest.
    """

    task: str
    setting: Setting
    agents: dict[str, list[Measurement]]
    differs: tuple[str, ...] = ()

    @property
    def runs(self) -> list[Measurement]:
        """All runs of the group."""
        return [m for runs in self.agents.values() for m in runs]


def tasks_of(measurements: Iterable[Measurement], task: str | None) -> list[str]:
    """Return the ids of the tasks with measurements, sorted; of these the ones that match ``task`` (an id or a glob).

    Raises:
        NotFoundError: nothing was measured on such a task.
    """
    known = sorted({m.task for m in measurements})
    chosen = known if task is None else [t for t in known if fnmatchcase(t, task)]
    if task is not None and not chosen:
        raise NotFoundError.named("measured task", task, known)
    return chosen


def on_each_task(measurements: Iterable[Measurement]) -> dict[str, list[Measurement]]:
    """Split measurements by task."""
    found: dict[str, list[Measurement]] = {}
    for m in measurements:
        found.setdefault(m.task, []).append(m)
    return found


def groups_on(task: str, measurements: Sequence[Measurement], mix: bool = False) -> list[Group]:
    """Split the measurements on a task into groups that may be compared, the newest first.

    Agents that think with no language model (backbone None) stand in every group of an otherwise equal setting. Variants that
    name in what their settings differ stand in one group. With ``mix`` all runs make one group, and all versions of an agent are
    one agent.
    """
    runs = sorted((m for m in measurements if m.task == task), key=attrgetter("created"), reverse=True)
    if mix and runs:
        by_agent: dict[str, list[Measurement]] = {}
        for m in runs:
            by_agent.setdefault(m.agent, []).append(m)
        return [Group(task, runs[0].setting, _in_order(by_agent))]
    # runs that are alike share their setting object; all that follows looks at one of each kind
    alike: dict[tuple[str, str, int], list[Measurement]] = {}
    for m in runs:
        alike.setdefault((m.agent, m.agent_digest, id(m.setting)), []).append(m)
    bare: dict[Setting, list[list[Measurement]]] = {}
    for kind in alike.values():
        bare.setdefault(_shared(kind[0].setting), []).append(kind)
    groups: list[Group] = []
    newest: dict[int, str] = {}
    for kinds in bare.values():
        backbones: list[str | None] = list(dict.fromkeys(mind for k in kinds if (mind := _mind(k[0].setting))))
        for backbone in backbones or [None]:
            fitting = [k for k in kinds if _mind(k[0].setting) in (None, backbone)]
            thinking = next((k[0].setting.backbone for k in fitting if k[0].setting.backbone), None)
            setting = fitting[0][0].setting.model_copy(update={"backbone": thinking})
            group = Group(task, setting, _in_order(_shown(fitting)))
            newest[id(group)] = max(k[0].created for k in fitting)
            groups.append(group)
    groups.sort(key=lambda g: newest[id(g)], reverse=True)
    return [Group(g.task, g.setting, g.agents, tuple(groups[0].setting.differing(g.setting))) for g in groups]


def told_apart(measurements: Iterable[Measurement]) -> list[Measurement]:
    """Return the same with every difference of settings standing, also those that the agents' shown names say."""
    known: dict[int, Setting] = {}
    found = []
    for m in measurements:
        if m.setting.varied:
            plain = known.setdefault(id(m.setting), m.setting.model_copy(update={"varied": ()}))
            m = m._replace(setting=plain)
        found.append(m)
    return found


def _shared(setting: Setting) -> Setting:
    """Return what the runs of a group share, backbones aside."""
    varied = tuple(field for field in setting.varied if field != "backbone")
    return setting.model_copy(update={"backbone": None, "varied": varied, **dict.fromkeys(varied, "")})


def _mind(setting: Setting) -> str | None:
    """Return the backbone that a group is made for; the same for all where the agents' shown names say which."""
    return "named" if setting.backbone and "backbone" in setting.varied else setting.backbone


def _in_order(agents: Mapping[str, list[Measurement]]) -> dict[str, list[Measurement]]:
    return {name: sorted(agents[name], key=attrgetter("seed", "run")) for name in sorted(agents)}


def _shown(kinds: Sequence[list[Measurement]]) -> dict[str, list[Measurement]]:
    """Return shown name → runs: the agent's name, with version or backbone only where that tells agents apart."""
    digests: dict[str, set[str]] = {}
    backbones: dict[str, set[str]] = {}
    for kind in kinds:
        first = kind[0]
        digests.setdefault(first.agent, set()).add(first.agent_digest)
        backbones.setdefault(first.agent, set()).add(first.setting.backbone or "no backbone")
    found: dict[str, list[Measurement]] = {}
    for kind in kinds:
        m = kind[0]
        name = m.agent
        name += f"@{m.agent_digest[:8]}" if len(digests[m.agent]) > 1 else ""
        name += f" [{m.setting.backbone or 'no backbone'}]" if len(backbones[m.agent]) > 1 else ""
        found.setdefault(name, []).extend(kind)
    return found


def repeated_seeds(agent: str, runs: Sequence[Measurement]) -> str:
    """Return a warning where several runs of an agent share a seed: they may not be independent. Empty otherwise."""
    twice = sorted(seed for seed, times in Counter(m.seed for m in runs).items() if times > 1)
    if not twice:
        return ""
    return f"{runs[0].task}: {agent} ran seed {', '.join(map(str, twice))} more than once; such runs may not be independent"
