"""What a run is made from, found by its specification: task, data, base model, and the yardsticks beside its score."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.assets.base_models import BaseModel, prepare_base_model
from harness.assets.installs import install_path
from harness.assets.prepare import PreparedTask, limited, prepare_task
from harness.assets.task_dir import find_task
from harness.sandbox.base import Backend
from harness.session.llm import OpenedBackbone
from harness.spec.backbone import Backbone, BackboneRef
from harness.spec.broken import Broken
from harness.spec.errors import MissingError, UsageError
from harness.spec.progress import Progress
from harness.spec.result import Reference
from harness.spec.run import RunSpec
from harness.store.base import Store
from harness.store.run_dir import RunDir

_SCRIPTED = "scripted:"


@dataclass(frozen=True)
class Assets:
    """What a run is made from, prepared and checked against the digests in its RunSpec."""

    prepared: PreparedTask
    base_model: BaseModel
    install: Path | None = None  # what the agent has installed; looked at when a sandbox is made


class Library:
    """Task directories, the cache, backbones: where runs find what they were planned with. Safe for several threads.

    Args:
        cache: prepared data, base models, references.
        home: results directory, from which a task that was named by its directory is found.
        tasks: directories to look for tasks in beside the built-in ones.
        backbones: those of the settings, by name, beside the built-in ones.
    """

    def __init__(
        self,
        cache: Path,
        home: Path,
        tasks: Sequence[Path] | None = None,
        backbones: Mapping[str, Backbone | Broken] | None = None,
    ) -> None:
        self.cache, self._home = cache, home
        self._tasks = tasks
        self._backbones = backbones or {}
        self._found: dict[tuple[str, str, str, str], Assets] = {}
        self._lock = threading.Lock()

    def assets(self, spec: RunSpec, progress: Progress | None = None) -> Assets:
        """Prepare (or find in the cache) what a planned run is made from; a quick look gets the first items only.

        Raises:
            MissingError: task, data or base model are not what the run was planned with.
        """
        assets = self._prepared(spec, progress)
        if spec.agent.install:
            assets = replace(assets, install=install_path(spec.agent.install, self.cache))
        planned = (spec.task.digest, spec.task.data_digest, spec.base_model.digest)
        now = (assets.prepared.task.digest, assets.prepared.digest, assets.base_model.digest)
        for what, before, after in zip(("the task", "its data", "the base model"), planned, now, strict=True):
            if before != after:
                raise MissingError(
                    f"run {spec.id}: {what} has changed since it was planned ({before[:12]} → {after[:12]})",
                    hint=f"bring back the version it was planned with, or submit {spec.task.id} anew",
                )
        if spec.limit is None:
            return assets
        return replace(assets, prepared=limited(assets.prepared, spec.limit, self.cache))

    def references(self, spec: RunSpec, assets: Assets, backend: Backend) -> tuple[Reference, ...]:
        """Return the yardsticks for a run's score, measuring them (minutes) where nobody has; a quick look has none.

        Raises:
            GraderFailure: the grader broke while measuring.
        """
        from harness.grading.references import references_for

        if spec.limit is not None:
            return ()
        return references_for(assets.prepared, assets.base_model, spec.generation, spec.limits, backend, self.cache)

    def plan_backbone(self, name: str, store: Store) -> BackboneRef:
        """Return the backbone ``name`` as runs are planned with it; ``store`` holds the runs that may be played again.

        Raises:
            NotFoundError: there is no such backbone.
            MissingError: its key is not set, or its file of replies is not there.
        """
        from harness.gateway.backbones import backbone_ref, find_backbone, key_of

        backbone = find_backbone(name, self._backbones)
        key_of(backbone, os.environ)
        if name.startswith(_SCRIPTED):  # no absolute path is kept in a run
            path = Path(name.removeprefix(_SCRIPTED)).expanduser().absolute()
            name = _SCRIPTED + os.path.relpath(path, self._home)
        return backbone_ref(name, backbone, runs=_folders(store))

    def backbone(self, planned: BackboneRef, store: Store) -> Backbone:
        """Return the backbone that a run in ``store`` was planned with.

        Raises:
            MissingError: it is not configured here, is another one now, or its key is not set.
        """
        from harness.gateway.backbones import backbone_ref, find_backbone, key_of

        try:
            named = planned.name
            if named.startswith(_SCRIPTED):
                named = _SCRIPTED + str((self._home / named.removeprefix(_SCRIPTED)).resolve())
            backbone = find_backbone(named, self._backbones)
            now = backbone_ref(planned.name, backbone, runs=_folders(store))
        except UsageError as exc:
            raise MissingError(f"backbone {planned.name}: {exc.message}", hint=exc.hint) from exc
        if now.identity != planned.identity:
            raise MissingError(
                f"backbone {planned.name} is not what the run was planned with ({planned.words} then, {now.words} now)",
                hint="bring its old settings back, or submit anew",
            )
        key_of(backbone, os.environ)
        return backbone

    def open_backbone(self, store: Store, planned: BackboneRef, run: RunDir) -> OpenedBackbone:
        """Make a run's backbone ready to answer.

        Raises:
            MissingError: as `backbone`.
        """
        from harness.gateway.backbones import key_of, open_upstream

        backbone = self.backbone(planned, store)
        key = key_of(backbone, os.environ)
        upstream = open_upstream(backbone, environ=os.environ, recording=run.talk, runs=_folders(store))
        told = backbone.model_copy(update={"model": planned.model})
        return OpenedBackbone(told, upstream, (key,) if key else ())

    def _prepared(self, spec: RunSpec, progress: Progress | None) -> Assets:
        named = str((self._home / spec.task.path).resolve()) if spec.task.path else spec.task.id
        folder = spec.base_model.path
        model_name = str((self._home / folder).resolve()) if folder else spec.base_model.name
        key = (named, spec.task.profile, spec.task.hidden, model_name)
        with self._lock:
            if key not in self._found:
                task = find_task(named, self._tasks)
                model = prepare_base_model(model_name, self.cache, progress)
                data = prepare_task(task, spec.task.profile, self.cache, progress, hidden=spec.task.hidden)
                self._found[key] = Assets(data, model)
            return self._found[key]


def _folders(store: Store) -> Callable[[str], Path]:
    """Return what finds a run's folder."""
    return lambda run: store.files(store.resolve(run, "run")).path
