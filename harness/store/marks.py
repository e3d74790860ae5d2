"""What people say about batches and runs (name, tags, exclusions), kept in their folders: the index is rebuilt from there."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from harness.files import write_atomic
from harness.spec.base import Spec
from harness.spec.errors import StoreError
from harness.spec.toml import describe

BATCH_FILE = "batch.json"
MARKS_FILE = "marks.json"

T = TypeVar("T", bound=BaseModel)


class BatchFile(Spec):
    """``batch.json`` in a batch's folder."""

    name: str = ""
    created: datetime
    settings: dict[str, Any] = Field(default_factory=dict)
    runs: tuple[str, ...] = Field((), description="ids in order of submission")
    tags: tuple[str, ...] = ()


class Marks(Spec):
    """``marks.json`` in a run's folder; absent where nobody marked the run."""

    tags: tuple[str, ...] = ()
    excluded: str = ""


def read_batch(folder: Path) -> BatchFile | None:
    """Read a batch's file; None where there is none (dojo before 0.2 wrote none)."""
    return _read(folder / BATCH_FILE, BatchFile)


def write_batch(folder: Path, content: BatchFile) -> None:
    """Write a batch's file in one step."""
    _write(folder / BATCH_FILE, content)


def read_marks(folder: Path) -> Marks:
    """Read a run's marks; none where the file is absent."""
    return _read(folder / MARKS_FILE, Marks) or Marks()


def write_marks(folder: Path, content: Marks) -> None:
    """Write a run's marks in one step; a run without marks has no file."""
    if content == Marks():
        (folder / MARKS_FILE).unlink(missing_ok=True)
    else:
        _write(folder / MARKS_FILE, content)


def _read(path: Path, model: type[T]) -> T | None:
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StoreError(
            f"cannot read {path}: {exc.strerror}", hint="check the permissions of the results directory", code="damaged"
        ) from exc
    except ValidationError as exc:
        raise StoreError(
            f"{path} is damaged: {describe(exc)}", hint="bring it back from a backup, or delete it: it holds names and tags only",
            code="damaged",
        ) from exc  # fmt: skip


def _write(path: Path, content: BaseModel) -> None:
    try:
        write_atomic(path, content.model_dump_json(indent=2).encode())
    except OSError as exc:
        raise StoreError(f"cannot write {path}: {exc.strerror}", hint="check free disk space and permissions there") from exc
