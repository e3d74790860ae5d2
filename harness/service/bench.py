"""What every part of the façade works on: one results directory, one cache, and where tasks and agents are found."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.assets import agent_dir, task_dir
from harness.sandbox.base import Check
from harness.session.assets import Library
from harness.session.run import Runner
from harness.spec.backbone import Backbone
from harness.spec.errors import UsageError
from harness.store.base import Store
from harness.store.opening import open_store
from harness.store.run_dir import RunDir


class Bench:
    """The ground that the façade's parts stand on; see `harness.service.Dojo` for the arguments."""

    def __init__(
        self,
        home: Path | str | None = None,
        cache: Path | str | None = None,
        tasks: Sequence[Path] | None = None,
        agents: Sequence[Path] | None = None,
        database: str | None = None,
        sandbox: str = "namespace",
        backbones: Mapping[str, Backbone] | None = None,
    ) -> None:
        self.home = Path(home or os.environ.get("DOJO_HOME") or "results").resolve()
        self.cache = Path(cache or os.environ.get("DOJO_CACHE") or Path.home() / ".cache" / "dojo").resolve()
        self._task_roots, self._agent_roots = tasks, agents
        self._database, self._sandbox = database, sandbox
        self._opened: Store | None = None
        self._backbones = dict(backbones or {})
        self._library = Library(self.cache, self.home, tasks, self._backbones)

    @property
    def store(self) -> Store:
        """The results directory with its index, opened on first use."""
        if self._opened is None:
            self._opened = open_store(self.home, self._database)
        return self._opened

    def doctor(self, area: str | None = None) -> list[Check]:
        """Check what this machine has for running dojo."""
        from harness.executor.doctor import diagnose

        return diagnose(self.home, self.cache, self._sandbox, area, self._backbones)

    def task(self, task: str) -> task_dir.Task:
        """Return one task by id or path."""
        return task_dir.find_task(task, self._task_roots)

    def agent(self, agent: str) -> agent_dir.Agent:
        """Return one agent by name or path."""
        return agent_dir.find_agent(agent, self._agent_roots)

    def expand_tasks(self, patterns: Sequence[str]) -> list[task_dir.Task]:
        """Turn task ids, paths, globs and ``all`` into tasks, each once, in the order given.

        Raises:
            UsageError: a pattern that matches none.
            NotFoundError: no such task.
        """
        from fnmatch import fnmatchcase

        found: dict[str, task_dir.Task] = {}
        for pattern in patterns:
            if pattern == "all" or any(c in pattern for c in "*?["):
                known = task_dir.list_tasks(self._task_roots)
                matches = [task for task in known if pattern == "all" or fnmatchcase(task.id, pattern)]
                if not matches:
                    raise UsageError(f"no task matches {pattern!r}", hint=f"known: {', '.join(task.id for task in known)}")
                found |= {task.id: task for task in matches}
            else:
                task = self.task(pattern)
                found[task.id] = task
        return list(found.values())

    def _run_folder(self, run: str) -> RunDir:
        return self.store.files(self.store.resolve(run, "run"))

    def _runner(self) -> Runner:
        return Runner(self.store, self._library)
