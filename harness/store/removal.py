"""Taking runs and batches away: first out of sight in one step, then off the disk."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection, delete, select

from harness.spec.errors import StoreError
from harness.store.filling import delete_batch
from harness.store.folders import Home
from harness.store.index import unknown
from harness.store.leases import Leases
from harness.store.marks import read_batch, write_batch
from harness.store.tables import batches, leases, measured, runs, tags

_PREFIX = ".removed-"


class Disk:
    """Turns what the operating system says about ``path`` into an error with a remedy."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, OSError):
            raise StoreError(
                f"cannot write {self._path}: {error.strerror}", hint="check free disk space and permissions there, and DOJO_HOME"
            ) from error


def take_out(connection: Connection, home: Home, references: Iterable[str], held: Leases) -> list[Path]:
    """Delete the rows of runs and batches and hide their folders; return the folders, to be deleted after the commit.

    Raises:
        NotFoundError: no run or batch has such an id.
        StoreError: somebody drives one of them (code ``busy``).
    """
    wanted: dict[str, list[str] | None] = {}
    for reference in references:
        row = connection.execute(select(runs.c.batch).where(runs.c.id == reference)).first()
        if row is not None:
            of_batch = wanted.setdefault(row.batch, [])
            if of_batch is not None:
                of_batch.append(reference)
        elif connection.execute(select(batches.c.id).where(batches.c.id == reference)).first() is not None:
            wanted[reference] = None
        else:
            raise unknown(reference)
    hidden = []
    for batch, named in wanted.items():
        members = list(connection.scalars(select(runs.c.id).where(runs.c.batch == batch)))
        going = members if named is None else named
        for run, holder in held.holders_in(connection, going).items():
            raise StoreError(f"run {run} is driven by {holder}", hint=f"end it first with `dojo cancel {run}`", code="busy")
    for batch, named in wanted.items():
        members = list(connection.scalars(select(runs.c.id).where(runs.c.batch == batch)))
        going = members if named is None else named
        connection.execute(delete(leases).where(leases.c.run.in_(going)))
        if set(members) <= set(going):
            delete_batch(connection, batch)
            hidden += _hide(home.batch(batch))
            continue
        for table, column in ((measured, measured.c.run), (tags, tags.c.ref), (runs, runs.c.id)):
            connection.execute(delete(table).where(column.in_(going)))
        for run in going:
            hidden += _hide(home.run(batch, run))
        if file := read_batch(home.batch(batch)):
            kept = tuple(run for run in file.runs if run not in going)
            write_batch(home.batch(batch), file.model_copy(update={"runs": kept}))
    return hidden


def delete_folder(folder: Path) -> None:
    """Delete a folder, read-only ones inside it, too."""
    for path, _folders, _files in os.walk(folder):
        if not os.access(path, os.W_OK):
            os.chmod(path, 0o700)
    with Disk(folder):
        shutil.rmtree(folder)


def leftovers(home: Home) -> list[Path]:
    """Return the folders that a removal hid and did not get to delete."""
    return [*home.batches.glob(f"{_PREFIX}*"), *home.batches.glob(f"*/runs/{_PREFIX}*")]


def _hide(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    target = folder.with_name(f"{_PREFIX}{folder.name}-{secrets.token_hex(3)}")
    with Disk(folder):
        folder.rename(target)
    return [target]
