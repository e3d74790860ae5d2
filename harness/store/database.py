"""The store that ships: an SQL database beside the run folders. SQLite (WAL) by default, PostgreSQL by URL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, func, insert, select, update

from harness.spec.errors import StoreError, UsageError
from harness.spec.outcome import Cause, RunState
from harness.spec.progress import Progress
from harness.spec.result import RunResult
from harness.spec.run import RunSpec
from harness.spec.summary import summarise
from harness.store import measured, removal
from harness.store.accounts import Accounts
from harness.store.base import Lease, ReindexReport
from harness.store.connect import Condition, Database, NotReadable
from harness.store.filling import delete_batch, insert_batch
from harness.store.folders import FoundBatch, FoundRun, Home, result_columns, spec_columns
from harness.store.index import Index, not_in_index, unknown
from harness.store.leases import Leases
from harness.store.marks import BatchFile, Marks, read_batch, read_marks, write_batch, write_marks
from harness.store.owner import Owner
from harness.store.reindexing import bring_up, rebuild
from harness.store.tables import batches, runs, tags

T = TypeVar("T")


class SqlStore(Index):
    """A results directory with its database; see `base.Store` for what it promises.

    Nothing is made before the first change: looking works on a home that is read-only, another user's or not there.

    Args:
        home: ``DOJO_HOME``.
        url: an SQLAlchemy URL; default is SQLite in ``home``.
        warn: hears, once each, what a user should know (a database that could not be read); default: the log.
        owner: who takes leases; default: this process.
        clock: seconds since 1970; default: this machine's for SQLite, the server's for PostgreSQL.
    """

    def __init__(
        self,
        home: Path,
        url: str | None = None,
        *,
        warn: Progress | None = None,
        owner: Owner | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        database = Database(url or f"sqlite:///{home / 'dojo.db'}")
        super().__init__(Home(home), database, warn)
        self._index = database
        self._leases = Leases(self._write, owner or Owner.here(), self._clock(clock), clock)

    @property
    def shared(self) -> bool:
        """Whether processes on other machines may use this index too: a server's, not a file's."""
        return self._index.path is None

    @property
    def accounts(self) -> Accounts:
        """Users, tokens and the audit log of a service."""
        return Accounts(self._write, self._ask)

    def close(self) -> None:
        """Release connections and every lease held."""
        self._leases.close()
        self._index.close()

    def add_batch(self, batch: str, name: str, specs: Sequence[RunSpec], settings: dict[str, Any]) -> None:
        """See `base.Store`; ``batch.json`` is written first."""
        now = datetime.now(UTC)
        file = BatchFile(name=name, created=now, settings=settings, runs=tuple(spec.id for spec in specs))
        folder = self._folders.batch(batch)
        with self._disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_batch(folder, file)
        fresh = {"state": RunState.QUEUED.value, "excluded": "", "metric": "", "updated": now}
        found = [FoundRun(spec, {**spec_columns(spec), **fresh}, Marks(), None) for spec in specs]

        def change(connection: Connection) -> None:
            delete_batch(connection, batch)  # a database that was missing has just been filled from the folders
            insert_batch(connection, FoundBatch(batch, file, True, found))

        self._write(change, new=batch)

    def record_state(self, run: str, state: RunState, *, cause: Cause | None = None) -> None:
        """See `base.Store`."""
        self._set(run, state=state.value, cause=cause.value if cause else None)

    def record_result(self, result: RunResult) -> None:
        """See `base.Store`."""
        summary = summarise(result)

        def change(connection: Connection) -> None:
            _set(connection, result.spec.id, result_columns(result))
            measured.write(connection, [summary])

        self._write(change)

    def claim(self, run: str) -> Lease:
        """See `base.Store`."""
        return self._leases.claim(run)

    def holders(self, runs: Sequence[str]) -> dict[str, str]:
        """See `base.Store`."""
        return self._look(lambda connection: self._leases.holders_in(connection, runs))

    def holder(self, run: str) -> str | None:
        """See `base.Store`."""
        return self.holders([run]).get(run)

    def request_cancel(self, run: str) -> None:
        """See `base.Store`; the request is a file in the run's folder, so it survives everything that the folder does."""
        folder = self.files(run).path
        with self._disk(folder):
            (folder / "cancel").touch()

    def tag(self, references: Iterable[str], add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """See `base.Store`."""
        adding, removing = tuple(add), set(remove)
        for tag in adding:
            if not tag.strip() or len(tag) > 200:
                raise UsageError(f"{tag!r} is no tag", hint="one to 200 characters")

        def changed(old: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(sorted({*old, *adding} - removing))

        def change(connection: Connection) -> None:
            for reference in list(references):
                batch = self._batch_of(connection, reference)
                if batch is None:
                    kept = changed(self._tag_batch(reference, changed))
                else:
                    folder = self._folders.run(batch, reference)
                    marks = read_marks(folder)
                    kept = changed(marks.tags)
                    write_marks(folder, marks.model_copy(update={"tags": kept}))
                connection.execute(delete(tags).where(tags.c.ref == reference))
                if kept:
                    connection.execute(insert(tags), [{"tag": tag, "ref": reference} for tag in kept])

        self._write(change)

    def exclude(self, run: str, why: str) -> None:
        """See `base.Store`."""
        if not why.strip():
            raise UsageError(f"run {run} cannot be excluded without a reason", hint="say why with --why")
        self._exclude(run, why.strip())

    def include(self, run: str) -> None:
        """See `base.Store`."""
        self._exclude(run, "")

    def remove(self, references: Iterable[str]) -> None:
        """See `base.Store`."""
        wanted = list(references)
        hidden = self._write(lambda connection: removal.take_out(connection, self._folders, wanted, self._leases))
        for folder in hidden:
            removal.delete_folder(folder)

    def reindex(self, progress: Progress | None = None) -> ReindexReport:
        """See `base.Store`."""
        return rebuild(self._folders, self._index, self._former(), progress)

    def _exclude(self, run: str, why: str) -> None:
        def change(connection: Connection) -> None:
            batch = self._batch_of(connection, run)
            if batch is None:
                raise unknown(run)
            folder = self._folders.run(batch, run)
            write_marks(folder, read_marks(folder).model_copy(update={"excluded": why}))
            connection.execute(update(runs).where(runs.c.id == run).values(excluded=why))

        self._write(change)

    def _tag_batch(self, batch: str, changed: Callable[[tuple[str, ...]], tuple[str, ...]]) -> tuple[str, ...]:
        """Write a batch's tags into its file and return those it had."""
        folder = self._folders.batch(batch)
        file = read_batch(folder)
        if file is None:
            raise StoreError(f"batch {batch} has no batch.json", hint="`dojo reindex` writes it", code="damaged")
        write_batch(folder, file.model_copy(update={"tags": changed(file.tags)}))
        return file.tags

    def _batch_of(self, connection: Connection, reference: str) -> str | None:
        """Return the batch of a run; None where ``reference`` is a batch itself. The row stays locked until the end."""
        row = connection.execute(select(runs.c.batch).where(runs.c.id == reference).with_for_update()).first()
        if row is not None:
            return str(row.batch)
        if connection.execute(select(batches.c.id).where(batches.c.id == reference).with_for_update()).first() is None:
            raise unknown(reference)
        return None

    def _set(self, run: str, **columns: Any) -> None:
        self._write(lambda connection: _set(connection, run, columns))

    def _write(self, change: Callable[[Connection], T], new: str | None = None) -> T:
        if self._index.stale():
            bring_up(self._folders, self._index, self._former, self._say, new)
        return self._index.write(change)

    def _ask(self, query: Callable[[Connection], T]) -> T:
        """Look into the database alone: what no folder says must not be answered from the folders.

        Raises:
            StoreError: it does not answer, or is of another version or damaged.
        """
        try:
            return self._index.look(query)
        except NotReadable as exc:
            if exc.condition in (Condition.MISSING, Condition.OLDER):
                return self._write(query)  # which makes it, or brings it up
            raise StoreError(
                f"the database of {self.home} cannot be asked: it is {exc.condition.value}",
                hint="check that it runs and lets this user in; `dojo reindex` mends one that is damaged",
                code="database",
            ) from exc

    def _clock(self, given: Callable[[], float] | None) -> Callable[[Connection], float]:
        if given is not None:
            return lambda _connection: given()
        if self._index.path is not None:
            return lambda _connection: time.time()
        return lambda connection: float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())

    @staticmethod
    def _disk(path: Path) -> removal.Disk:
        return removal.Disk(path)


def _set(connection: Connection, run: str, columns: dict[str, Any]) -> None:
    values = {**columns, "updated": datetime.now(UTC)}
    if connection.execute(update(runs).where(runs.c.id == run).values(**values)).rowcount != 1:
        raise not_in_index(run)
