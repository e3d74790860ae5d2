"""Tasks: directories ``<domain>/<name>`` with a ``task.toml``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.assets.agent_dir import roots_from
from harness.files import tree_digest
from harness.spec.errors import NotFoundError
from harness.spec.task import DojoTask, TaskConfig, load_task_config
from harness.taskkit.scoring.loading import SHARED

_PROJECT = Path(__file__).resolve().parents[2]

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
    """

    id: str
    path: Path
    config: TaskConfig
    digest: str

    @property
    def dojo(self) -> DojoTask:
        """What is under ``[metadata.dojo]``."""
        return self.config.metadata.dojo

    @property
    def instruction(self) -> str:
        """The text of ``instruction.md``, with its placeholders."""
        return (self.path / "instruction.md").read_text(encoding="utf-8")


def task_roots(roots: Sequence[Path] | None = None) -> list[Path]:
    """Directories to look for tasks in: the given ones, else ``$DOJO_TASKS`` (``:`` between them), else the project's."""
    return list(roots) if roots is not None else roots_from("DOJO_TASKS", _PROJECT / "tasks")


def load_task(path: Path) -> Task:
    """Read a task's directory; its id is made of the last two parts of the path.

    Raises:
        SpecError: its ``task.toml`` is missing or malformed.
    """
    path = path.resolve()
    config = load_task_config(path / "task.toml")
    return Task(f"{path.parent.name}/{path.name}", path, config, with_shared(path, tree_digest(path, _NOT_THE_TASK)))


def with_shared(task_dir: Path, digest: str) -> str:
    """Add the code that a task shares with others of its domain to the digest of something in it."""
    shared = task_dir.parent / SHARED
    return hashlib.sha256(f"{digest} {tree_digest(shared)}".encode()).hexdigest() if shared.is_dir() else digest


def list_tasks(roots: Sequence[Path] | None = None) -> list[Task]:
    """Return all tasks of all roots by id; of two with one id the first root's counts.

    Raises:
        SpecError: a ``task.toml`` is malformed.
    """
    return [load_task(path) for _, path in sorted(_directories(roots).items())]


def find_task(task: str, roots: Sequence[Path] | None = None) -> Task:
    """Return a task by id.

    Raises:
        NotFoundError: no such task; says which id is near.
        SpecError: its ``task.toml`` is malformed.
    """
    known = _directories(roots)
    if task not in known:
        raise NotFoundError.named("task", task, sorted(known))
    return load_task(known[task])


def _directories(roots: Sequence[Path] | None) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for root in task_roots(roots):
        for file in sorted(root.glob("*/*/task.toml")):
            found.setdefault(f"{file.parent.parent.name}/{file.parent.name}", file.parent)
    return found
