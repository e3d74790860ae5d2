"""Making the index from the folders: for a database that is missing or old, and whenever a user asks for it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, MetaData, inspect, select, text

from harness.spec.errors import StoreError
from harness.spec.progress import Progress
from harness.store.base import Damage, ReindexReport
from harness.store.connect import Condition, Database, NotReadable, condition_of, create
from harness.store.filling import former_batches, refill
from harness.store.folders import FoundBatch, Home, damage_lines, scan
from harness.store.marks import BatchFile, write_batch
from harness.store.migrations import upgrade
from harness.store.removal import delete_folder, leftovers
from harness.store.tables import alembic_version, batches, runs

# The schema of a database that says no version.
_UNNAMED = "0001"


def bring_up(
    home: Home, database: Database, former: Callable[[], Mapping[str, BatchFile]], say: Progress, new: str | None = None
) -> None:
    """Make a database ready for a change: made where it is missing, migrated where it is old, filled from the folders.

    Args:
        home: where the folders lie.
        database: what is made ready.
        former: what it knew of batches whose folder does not say it.
        say: hears that it was filled.
        new: a batch that is just being added; its folders are nothing to speak of.

    Raises:
        StoreError: it is of a newer dojo (code ``newer``) or damaged (code ``damaged``).
    """
    condition = database.condition()
    if condition is Condition.NEWER:
        raise StoreError(
            f"the database of {home.path} is of a newer dojo",
            hint="use that version, or rebuild the database for this one with `dojo reindex`",
            code="newer",
        )
    if condition is Condition.DAMAGED:
        raise StoreError(
            f"the database of {home.path} is damaged", hint="rebuild it from the run folders with `dojo reindex`", code="damaged"
        )
    if condition is Condition.SILENT:
        return  # the change itself will say why
    if condition is not Condition.CURRENT:
        found, damages = _collect(home, former(), None)

        def make(connection: Connection) -> bool:
            now = condition_of(connection)  # another process may have been faster
            if now in (Condition.MISSING, Condition.OLDER):
                _bring_to_newest(connection, now)
                refill(connection, found)
            return now is not Condition.CURRENT

        count = sum(len(batch.runs) for batch in found if batch.id != new)
        if database.write(make) and count:
            what = "was missing" if condition is Condition.MISSING else "was of an earlier dojo"
            say(f"the database of {home.path} {what}; it has been filled from {count} run folders")
            for line in damage_lines(damages):
                say(line)
        for line in damage_lines(_write_batch_files(home, found)):
            say(line)
    database.prepared = True


def rebuild(home: Home, database: Database, former: Mapping[str, BatchFile], progress: Progress | None) -> ReindexReport:
    """Read every folder, then put the index in its place in one step.

    A database that can be written is changed in one transaction: who reads it meanwhile sees the old one, and leases stay. One
    that is damaged is replaced by a new file.
    """
    try:
        os.scandir(home.path).close()
    except FileNotFoundError as exc:
        message = f"there is no results directory {home.path}"
        raise StoreError(message, hint="set DOJO_HOME, or start with `dojo submit`") from exc
    for folder in leftovers(home):
        delete_folder(folder)
    started = datetime.now(UTC)
    found, damages = _collect(home, former, progress)
    if database.path is not None and not _sound(database):
        _replace_file(database, found, progress)
    else:

        def change(connection: Connection) -> None:
            _bring_to_newest(connection, condition_of(connection))
            refill(connection, _with_changes(connection, home, found, started), progress)

        database.write(change)
    database.prepared = True
    damages += _write_batch_files(home, found)
    return ReindexReport(batches=len(found), runs=sum(len(batch.runs) for batch in found), damages=tuple(damages))


def _collect(home: Home, former: Mapping[str, BatchFile], progress: Progress | None) -> tuple[list[FoundBatch], list[Damage]]:
    found, damages, count = [], [], 0
    for batch, hurt in scan(home, former):
        damages += hurt
        if batch.runs or home.batch(batch.id).is_dir():
            found.append(batch)
        count += len(batch.runs)
        if progress and batch.runs:
            progress(f"{count} runs read")
    return found, damages


def _with_changes(connection: Connection, home: Home, found: list[FoundBatch], started: datetime) -> list[FoundBatch]:
    """Read those batches again that changed while the folders were read; nobody can change them now."""
    changed = set(connection.scalars(select(runs.c.batch).where(runs.c.updated >= started)))
    changed |= set(connection.scalars(select(batches.c.id).where(batches.c.created >= started)))
    if not changed:
        return found
    known = former_batches(connection)
    again = {b.id: b for b, _ in scan(home, {k: v for k, v in known.items() if k in changed}) if b.id in changed}
    return [*(b for b in found if b.id not in changed), *again.values()]


def _bring_to_newest(connection: Connection, condition: Condition) -> None:
    if condition is Condition.OLDER:
        named = "alembic_version" in inspect(connection).get_table_names()
        upgrade(connection, connection.scalars(select(alembic_version.c.version_num)).one() if named else _UNNAMED)
    elif condition is not Condition.CURRENT:
        # whatever tables are there mean something else to another version, or nothing
        present = MetaData()
        present.reflect(connection)
        present.drop_all(connection)
        create(connection)


def _sound(database: Database) -> bool:
    """Whether the file can be changed in place: it is none yet, or every page of it can be read."""
    try:
        return bool(database.look(lambda c: c.execute(text("PRAGMA quick_check")).scalar() == "ok", judge=False))
    except NotReadable as exc:
        if exc.condition is Condition.SILENT:
            raise StoreError(
                f"the database {database.path} does not answer: {exc.detail}",
                hint="end the process that writes it, or check its permissions; then try again",
            ) from exc
        return exc.condition is Condition.MISSING


def _replace_file(database: Database, found: list[FoundBatch], progress: Progress | None) -> None:
    assert database.path is not None
    path = database.path.with_name(f".{database.path.name}.{secrets.token_hex(4)}")
    fresh = Database(f"sqlite:///{path}")

    def fill(connection: Connection) -> None:
        create(connection)
        refill(connection, found, progress)

    try:
        fresh.write(fill)
        fresh.close()
        # an old write-ahead log beside the new file would be taken for its own
        for end in ("-wal", "-shm"):
            _beside(database.path, end).unlink(missing_ok=True)
        path.rename(database.path)
    except OSError as exc:
        raise StoreError(
            f"cannot put a new database in place of {database.path}: {exc.strerror}", hint="check the permissions of that folder"
        ) from exc
    finally:
        fresh.close()
        for end in ("", "-wal", "-shm"):
            _beside(path, end).unlink(missing_ok=True)
    database.close()


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def _write_batch_files(home: Home, found: list[FoundBatch]) -> list[Damage]:
    """Give batches of an earlier dojo the file that says their name and order; return which folders take none."""
    damages = []
    for batch in found:
        folder = home.batch(batch.id)
        if not batch.written and folder.is_dir():
            try:
                write_batch(folder, batch.file)
            except StoreError as exc:
                damages.append(Damage(run=batch.id, path=str(folder), message=exc.message, hint=exc.hint))
    return damages
