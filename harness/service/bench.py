"""What every part of the façade works on: one results directory, one cache, and where tasks and agents are found."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from harness.assets import agent_dir, task_dir
from harness.assets.roots import Listing, own_roots
from harness.sandbox.base import Check
from harness.session.assets import Library
from harness.session.run import Runner
from harness.spec.backbone import Backbone
from harness.spec.broken import Broken
from harness.spec.environment import CODE
from harness.spec.errors import MissingError, UsageError
from harness.store.artefacts.place import SETTING, Place, folder_of, open_place
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
        backbones: Mapping[str, Backbone | Broken] | None = None,
        artefacts: str | None = None,
    ) -> None:
        self.home = _place("DOJO_HOME", home or os.environ.get("DOJO_HOME") or "results")
        self.cache = _place("DOJO_CACHE", cache or os.environ.get("DOJO_CACHE") or Path.home() / ".cache" / "dojo")
        self._task_roots, self._agent_roots = tasks, agents
        self._database, self._sandbox = database, sandbox
        self._artefacts = artefacts or os.environ.get(SETTING) or ""
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

        try:
            places, found = self.hidden_places(), []
        except UsageError as exc:  # a folder that is set is not there: that is one thing to tell, among the others
            places, found = {"cache": self.cache, "results": self.home}, [Check("tasks", False, exc.message, exc.hint)]
        return found + diagnose(self.home, self.cache, self._sandbox, area, self._backbones, places, self._artefacts)

    def hidden_places(self) -> dict[str, Path]:
        """Return what must not be shown in sandboxes, in words, and the folders it lies in."""
        own = {f"tasks {number}": root for number, root in enumerate(own_roots("tasks", self._task_roots), 1)}
        kept = {"artefacts": folder} if (folder := folder_of(self._artefacts)) else {}
        return {"cache": self.cache, "results": self.home, **kept, **own}

    def task(self, task: str) -> task_dir.Task:
        """Return one task by id or path."""
        return task_dir.find_task(task, self._task_roots)

    def agent(self, agent: str) -> agent_dir.Agent:
        """Return one agent by name or path."""
        return agent_dir.find_agent(agent, self._agent_roots)

    def survey_tasks(self) -> Listing[task_dir.Task]:
        """Return all tasks, and what among them is broken."""
        return task_dir.survey_tasks(self._task_roots)

    def survey_agents(self) -> Listing[agent_dir.Agent]:
        """Return all agents, and what among them is broken."""
        return agent_dir.survey_agents(self._agent_roots)

    def left_out(self, patterns: Sequence[str]) -> list[Broken]:
        """Return the broken tasks that globs and ``all`` would mean if they could be used."""
        wide = [pattern for pattern in patterns if _is_wide(pattern)]
        broken = self.survey_tasks().broken if wide else ()
        return [each for each in broken if any(_means(pattern, each.name) for pattern in wide)]

    def expand_tasks(self, patterns: Sequence[str]) -> list[task_dir.Task]:
        """Turn task ids, paths, globs and ``all`` into tasks, each once, in the order given; see `left_out` for broken ones.

        Raises:
            UsageError: a pattern that matches none.
            NotFoundError: no such task.
        """
        found: dict[str, task_dir.Task] = {}
        for pattern in patterns:
            if _is_wide(pattern):
                known = task_dir.list_tasks(self._task_roots)
                matches = [task for task in known if _means(pattern, task.id)]
                if not matches:
                    raise UsageError(f"no task matches {pattern!r}", hint=f"known: {', '.join(task.id for task in known)}")
                found |= {task.id: task for task in matches}
            else:
                task = self.task(pattern)
                found[task.id] = task
        return list(found.values())

    def _run_folder(self, run: str) -> RunDir:
        return self.store.files(self.store.resolve(run, "run"))

    def _place(self) -> Place:
        """Open where artefacts are kept.

        Raises:
            MissingError, UsageError: see `open_place`.
        """
        return open_place(self._artefacts)

    def runner(self) -> Runner:
        """Return what drives single runs of this store."""
        return self._runner()

    def _runner(self) -> Runner:
        return Runner(self.store, self._library, artefacts=self._artefacts)


def _place(setting: str, path: Path | str) -> Path:
    """Return a folder's absolute path.

    Raises:
        MissingError: it is no text: it could not stand in a record, and libraries that read models do not take it.
    """
    found = Path(path).resolve()
    try:
        str(found).encode()
    except UnicodeEncodeError as exc:
        message = f"{setting} {str(found)!a} has bytes in it that are no UTF-8"
        raise MissingError(message, hint=f"rename the folder, or set {setting} to another place", code=CODE) from exc
    return found


def _is_wide(pattern: str) -> bool:
    return pattern == "all" or any(sign in pattern for sign in "*?[")


def _means(pattern: str, task: str) -> bool:
    return pattern == "all" or fnmatchcase(task, pattern)
