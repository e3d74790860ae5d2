"""Tasks and agents: listing, checking, starting and exporting them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.assets import agent_dir, task_dir
from harness.assets.base_models import BaseModel, prepare_base_model
from harness.assets.prepare import prepare_task
from harness.executor.planner import profile_of
from harness.sandbox.base import Check
from harness.sandbox.registry import get_backend
from harness.service.bench import Bench
from harness.spec.errors import DojoError
from harness.spec.progress import Progress
from harness.spec.run import PUBLIC_HIDDEN

if TYPE_CHECKING:
    from harness.assets.installs import Install
    from harness.assets.new_agent import AgentKind
    from harness.executor.checks import TaskCheck


class Tasks(Bench):
    """What is done with tasks and agents."""

    def tasks(self) -> list[task_dir.Task]:
        """Return the tasks that can be used; `survey_tasks` tells of the others too."""
        return list(self.survey_tasks().found)

    def agents(self) -> list[agent_dir.Agent]:
        """Return the agents that can be used; `survey_agents` tells of the others too."""
        return list(self.survey_agents().found)

    def new_task(self, name: str, root: Path) -> task_dir.Task:
        """Start the task ``domain/name`` in ``root`` from a working example.

        Raises:
            UsageError: the name is no task name, or the directory exists.
        """
        from harness.assets.new_task import new_task

        return new_task(name, root)

    def export_task(
        self, task: str, target: Path, profile: str, progress: Progress | None = None, public_hidden: bool = False
    ) -> Path:
        """Write a task with its data and base model into the new folder ``target``, as Harbor runs it.

        The hidden items are in it: those of this installation, or with ``public_hidden`` those that anybody can make.

        Raises:
            NotFoundError: no such task, or it has no such profile.
            UsageError: ``target`` exists.
        """
        from harness.assets.export import export_harbor

        found = self.task(task)
        wanted = profile_of(found.dojo.profiles, found.id, profile)
        model = prepare_base_model(wanted.base_model, self.cache, progress)
        data = prepare_task(found, profile, self.cache, progress, hidden=PUBLIC_HIDDEN if public_hidden else None)
        return export_harbor(data, model, target)

    def check_task(self, task: str, profile: str, progress: Progress | None = None, record: bool = False) -> TaskCheck:
        """Check a task's directory, data and grader; with ``record`` measure its references and write its admission record.

        What is recorded is measured on the hidden items that anybody can make, so that anybody can check it.

        Raises:
            NotFoundError: no such task, or it has no such profile.
        """
        from harness.executor.checks import check_task, record_admission

        found = self.task(task)
        wanted = profile_of(found.dojo.profiles, found.id, profile)

        def base_model() -> BaseModel:
            return prepare_base_model(wanted.base_model, self.cache, progress)

        if record:
            prepared = prepare_task(found, profile, self.cache, progress, hidden=PUBLIC_HIDDEN)
            record_admission(prepared, base_model(), get_backend(self._sandbox), self.cache, progress)
        return check_task(found, profile, self.cache, base_model, progress, get_backend(self._sandbox))

    def diagnose_task(
        self,
        task: str,
        profile: str,
        progress: Progress | None = None,
        *,
        base_model: str | None = None,
        tokens_per_s: float | None = None,
    ) -> list[Check]:
        """Check a task as `check_task` does, and say of a profile with GPUs whether its grades fit on one and how long they take.

        Args:
            task: id or path.
            profile: which.
            progress: told what is being done.
            base_model: told of instead of the profile's; it need not be in the cache where dojo knows its shape.
            tokens_per_s: of all answers together; default: what earlier grades of that base model on a GPU took.

        Raises:
            NotFoundError: no such task or base model, or the task has no such profile.
        """
        from harness.assets.base_models import require_known
        from harness.executor.doctor_grading import Speed, cards_here, diagnose_grading
        from harness.service.speeds import measured_speed

        wanted = profile_of(self.task(task).dojo.profiles, task, profile)
        model = base_model or wanted.base_model
        require_known(model, self.cache)
        checks = list(self.check_task(task, profile, progress).checks)
        if not wanted.limits.gpus:
            return checks
        speed = Speed(tokens_per_s, "as you say") if tokens_per_s else measured_speed(self.store, model)
        try:
            cards = cards_here()
        except DojoError as exc:
            return [*checks, Check("grading memory", False, exc.message, exc.hint)]
        return [*checks, *diagnose_grading(wanted, model, self.cache, cards, speed)]

    def score_rows(self, task: str, rows: Path, responses: Path) -> dict[str, Any]:
        """Score given answers to given items with the task's own grader; no model, no run."""
        from harness.grading.score_rows import score_rows

        return score_rows(self.task(task).path, rows, responses)

    def check_agent(self, agent: str) -> list[Check]:
        """Check an agent's directory, and what it has installed."""
        from harness.executor.agent_checks import check_agent

        return check_agent(self.agent(agent), self.cache, get_backend(self._sandbox))

    def try_agent(self, agent: str, sandbox: str | None = None, progress: Progress | None = None) -> list[Check]:
        """Run an agent for up to a minute in a real sandbox, with a script for a language model, and say what it did.

        Raises:
            MissingError: data, a model, isolation or the agent's install are not to be had.
        """
        from harness.service.trial import try_agent

        return try_agent(self.agent(agent), self.cache, sandbox or self._sandbox, progress)

    def install_agent(self, agent: str, progress: Progress | None = None) -> Install | None:
        """Make what an agent needs installed, or check every file of it where it is made; None where it needs nothing.

        Raises:
            MissingError: a Python, npm or the network is missing, or an installed file was changed.
        """
        from harness.assets.installs import prepare_install, verify_install

        install = prepare_install(self.agent(agent), self.cache, progress)
        if install is not None:
            verify_install(install)
        return install

    def new_agent(self, name: str, folder: Path | None = None, kind: AgentKind = "shell") -> agent_dir.Agent:
        """Start an agent as a copy of an example of its kind in ``folder`` (default: see `agent_dir.new_agents_folder`)."""
        from harness.assets.new_agent import EXAMPLES, new_agent

        return new_agent(name, folder or agent_dir.new_agents_folder(self._agent_roots), self.agent(EXAMPLES[kind]))
