"""Tasks: directories ``<domain>/<name>`` with a ``task.toml``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.assets.roots import Listing, Place, listing, look_in, places, search_roots
from harness.files import tree_digest
from harness.spec.broken import Broken
from harness.spec.errors import NotFoundError, SpecError
from harness.spec.task import DojoTask, TaskConfig, load_task_config
from harness.spec.toml_text import read_text
from harness.taskkit.scoring.loading import SHARED

# Made from a task by running it, or about it; neither changes what the task is.
_NOT_THE_TASK = ("admission", "README.md")


@dataclass(frozen=True)
class Task:
    """A task's directory.

    Attributes:
        id: ``domain/name``.
        path: the directory.
        config: its ``task.toml``.
        digest: SHA-256 over its files without ``README.md`` and ``admission/``, and over its domain's ``shared/``.
        shadows: the task of the same id that it stands before; None where there is none.
        by_path: it was named by its directory, and its id need not lead to it.
    """

    id: str
    path: Path
    config: TaskConfig
    digest: str
    shadows: Path | None = None
    by_path: bool = False

    @property
    def dojo(self) -> DojoTask:
        """What is under ``[metadata.dojo]``."""
        return self.config.metadata.dojo

    @property
    def instruction(self) -> str:
        """The text of ``instruction.md``, with its placeholders.

        Raises:
            SpecError: it is not there or no text.
        """
        return read_text(self.path / "instruction.md", "an instruction is")


def load_task(path: Path) -> Task:
    """Read a task's directory; its id is made of the last two parts of the path.

    Raises:
        SpecError: its ``task.toml`` is missing or malformed, or one of its files cannot be read.
    """
    path = path.resolve()
    config = load_task_config(path / "task.toml")
    try:
        digest = with_shared(path, tree_digest(path, _NOT_THE_TASK))
    except OSError as exc:
        raise SpecError(f"{exc.filename}: cannot be read: {exc.strerror}", hint="make it readable, or remove it") from exc
    return Task(f"{path.parent.name}/{path.name}", path, config, digest)


def with_shared(task_dir: Path, digest: str) -> str:
    """Add the code that a task shares with others of its domain to the digest of something in it."""
    shared = task_dir.parent / SHARED
    return hashlib.sha256(f"{digest} {tree_digest(shared)}".encode()).hexdigest() if shared.is_dir() else digest


def survey_tasks(roots: Sequence[Path] | None = None) -> Listing[Task]:
    """Return all tasks by id, those of the user's own folders (see `roots.own_roots`) and dojo's, and those that are broken.

    Raises:
        UsageError: one of the folders does not exist.
    """
    known, closed = _places(roots)
    return listing(known, _load, closed)


def list_tasks(roots: Sequence[Path] | None = None) -> list[Task]:
    """Return the tasks that can be used; see `survey_tasks`."""
    return list(survey_tasks(roots).found)


def find_task(task: str, roots: Sequence[Path] | None = None) -> Task:
    """Return a task by id, or by the path of its directory where nothing has that id.

    Raises:
        NotFoundError: no such task; says which id is near.
        SpecError: its ``task.toml`` is malformed.
        UsageError: one of the folders does not exist.
    """
    known, closed = _places(roots)
    if task in known:
        return _load(known[task])
    path = Path(task).expanduser()
    if os.path.lexists(path / "task.toml"):
        return replace(load_task(path), by_path=True)
    for broken in closed:
        if broken.name == task:
            raise broken.error
    raise NotFoundError.named("task", task, sorted(known))


def _load(place: Place) -> Task:
    return replace(load_task(place.path), shadows=place.shadows)


def _places(roots: Sequence[Path] | None) -> tuple[dict[str, Place], list[Broken]]:
    looked = [look_in(root, "task.toml", 2) for root in search_roots("tasks", roots)]
    folders = [folder for holding, _ in looked for folder in holding]
    named = places((f"{folder.parent.name}/{folder.name}", folder) for folder in folders)
    return named, [broken for _, closed in looked for broken in closed]
