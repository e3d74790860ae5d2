"""The catalogue: tasks and agents as lists show them, the same at this machine and over a service."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from harness.assets.agent_dir import Agent
from harness.assets.task_dir import Task
from harness.service.bench import Bench
from harness.spec.agent import AgentInstall
from harness.spec.base import Spec
from harness.spec.broken import Broken
from harness.spec.task import MetricSpec, Sizes


class ListedTask(Spec):
    """A task as it can be named now."""

    id: str
    domain: str
    title: str
    summary: str
    metric: MetricSpec
    subsets: tuple[str, ...]
    profiles: tuple[str, ...]
    sizes: dict[str, Sizes | None] = Field(description="by profile; null where the task declares none")
    licence: str
    digest: str
    shadows: Path | None = Field(None, description="the task of the same id that it stands before")


class ListedTasks(Spec):
    """All tasks, and what cannot be used."""

    tasks: tuple[ListedTask, ...]
    broken: tuple[Broken, ...] = ()


class ListedAgent(Spec):
    """An agent as it can be named now."""

    name: str
    version: str
    description: str
    placement: Literal["task", "own"]
    backbone: Literal["none", "optional", "required"]
    params: dict[str, str | int | float | bool]
    install: AgentInstall | None
    digest: str
    shadows: Path | None = Field(None, description="the agent of the same name that it stands before")


class ListedAgents(Spec):
    """All agents, and what cannot be used."""

    agents: tuple[ListedAgent, ...]
    broken: tuple[Broken, ...] = ()


class Catalogue(Bench):
    """What there is to solve, and who there is to run."""

    def list_tasks(self) -> ListedTasks:
        """Return all tasks."""
        survey = self.survey_tasks()
        return ListedTasks(tasks=tuple(map(_task, survey.found)), broken=survey.broken)

    def describe_task(self, task: str) -> dict[str, Any]:
        """Return what a list says of a task, all that its ``task.toml`` says to dojo, and its goal.

        Raises:
            NotFoundError: no such task.
        """
        found = self.task(task)
        said = {**_task(found).model_dump(mode="json"), **found.dojo.model_dump(mode="json")}
        return {**said, "instruction": found.instruction, "path": str(found.path)}

    def list_agents(self) -> ListedAgents:
        """Return all agents."""
        survey = self.survey_agents()
        return ListedAgents(agents=tuple(map(_agent, survey.found)), broken=survey.broken)


def _task(task: Task) -> ListedTask:
    config = task.dojo
    return ListedTask(
        id=task.id,
        domain=task.id.split("/")[0],
        title=config.title,
        summary=config.summary,
        metric=config.metric,
        subsets=tuple(subset.name for subset in config.subsets),
        profiles=tuple(sorted(config.profiles)),
        sizes={name: profile.sizes for name, profile in sorted(config.profiles.items())},
        licence=config.licence,
        digest=task.digest,
        shadows=task.shadows,
    )


def _agent(agent: Agent) -> ListedAgent:
    config = agent.config
    told = config.model_dump(include={"name", "version", "description", "placement", "backbone", "params", "install"})
    return ListedAgent(**told, digest=agent.digest, shadows=agent.shadows)
