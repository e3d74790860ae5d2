"""The looking half of a store: every answer comes from the database, or from the folders where the database cannot give it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine

from harness.spec.errors import NotFoundError, StoreError
from harness.spec.progress import Progress
from harness.spec.result import RunResult
from harness.spec.summary import Summaries
from harness.store import measured, queries
from harness.store.base import BatchInfo, Damage, Kind, RunFilter, RunInfo
from harness.store.connect import Condition, Database, NotReadable, memory
from harness.store.filling import former_batches, refill
from harness.store.folders import Home, damage_lines, gone, scan
from harness.store.marks import BATCH_FILE, MARKS_FILE, BatchFile
from harness.store.run_dir import RunDir

T = TypeVar("T")
_log = logging.getLogger(__name__)

_REMEDY = {
    Condition.MISSING: "there is no database; `dojo reindex` makes one",
    Condition.OLDER: "the database is of an earlier dojo; `dojo reindex` brings it up to date",
    Condition.NEWER: "the database is of a newer dojo; use that one, or rebuild it for this one with `dojo reindex`",
    Condition.DAMAGED: "the database cannot be read; `dojo reindex` rebuilds it",
    Condition.SILENT: "the database does not answer",
}


class Index:
    """Answers about batches and runs. Nothing here writes.

    Args:
        home: where the folders lie.
        database: None: the folders alone are read.
        warn: hears, once each, what a user should know; default: the log.
    """

    def __init__(self, home: Home, database: Database | None, warn: Progress | None = None) -> None:
        self._folders = home
        self._database = database
        self._warn, self._warned = warn or _log.warning, set[str]()
        self._memory: tuple[object, Engine] | None = None
        self._reading = threading.Lock()

    @property
    def home(self) -> Path:
        """The results directory."""
        return self._folders.path

    def batches(self, where: RunFilter | None = None) -> list[BatchInfo]:
        """See `base.Store`."""
        return self._look(lambda connection: queries.find_batches(connection, where))

    def runs(self, where: RunFilter | None = None) -> list[RunInfo]:
        """See `base.Store`."""
        return self._look(lambda connection: queries.find_runs(connection, where))

    def run(self, run: str) -> RunInfo:
        """See `base.Store`."""
        return self._look(lambda connection: queries.find_run(connection, run))

    def resolve(self, reference: str, kind: Kind) -> str:
        """See `base.Store`."""
        return self._look(lambda connection: queries.resolve(connection, reference, kind))

    def run_dir(self, batch: str, run: str) -> RunDir:
        """See `base.Store`."""
        return RunDir(self._folders.run(batch, run))

    def files(self, run: str) -> RunDir:
        """See `base.Store`."""
        return self.run_dir(self.run(run).batch, run)

    def results(self, where: RunFilter | None = None) -> tuple[list[RunResult], list[Damage]]:
        """See `base.Store`."""
        found: list[RunResult] = []
        damages: list[Damage] = []
        for info in self.runs(where):
            run = self.run_dir(info.batch, info.id)
            try:
                result = run.result()
            except StoreError as exc:
                damages.append(Damage(run=info.id, path=str(run.result_path), message=exc.message, hint=exc.hint))
                continue
            if result is not None:
                found.append(result)
            elif not run.path.is_dir():
                damages.append(gone(info.id, run.path))
            elif info.state.final:
                message, hint = f"{run.result_path} is missing", f"`dojo grade {info.id} --again` writes it anew"
                damages.append(Damage(run=info.id, path=str(run.result_path), message=message, hint=hint))
        return found, damages

    def summaries(self, where: RunFilter | None = None) -> Summaries:
        """See `base.Store`."""
        return self._look(lambda connection: measured.read(connection, queries.run_ids(connection, where)))

    def cancel_requested(self, run: str) -> bool:
        """See `base.Store`."""
        return (self.files(run).path / "cancel").exists()

    def _look(self, query: Callable[[Connection], T]) -> T:
        if self._database is None:
            return self._from_folders(query)
        try:
            return self._database.look(query)
        except NotReadable as exc:
            if exc.condition is not Condition.MISSING or any(self._folders.listing()):
                detail = f" ({exc.detail})" if exc.detail else ""
                self._say(f"{self._folders.path} is read from its run folders: {_REMEDY[exc.condition]}{detail}")
            return self._from_folders(query)

    def _from_folders(self, query: Callable[[Connection], T]) -> T:
        with self._reading:
            stamp = _stamp(self._folders)
            if self._memory is None or self._memory[0] != stamp:
                if self._memory is not None:
                    self._memory[1].dispose()
                engine = memory()
                found, damages = [], []
                for batch, hurt in scan(self._folders, self._former()):
                    found.append(batch)
                    damages += hurt
                with engine.begin() as connection:
                    refill(connection, [batch for batch in found if batch.runs or batch.written])
                for line in damage_lines(damages):
                    self._say(line)
                self._memory = stamp, engine
            with self._memory[1].connect() as connection:
                return query(connection)

    def _former(self) -> dict[str, BatchFile]:
        """Take from the database, whatever its version, what the folders of an earlier dojo do not say."""
        if self._database is None:
            return {}
        try:
            return self._database.look(former_batches, judge=False)
        except NotReadable:
            return {}

    def _say(self, line: str) -> None:
        if line not in self._warned:
            self._warned.add(line)
            self._warn(line)


def _stamp(home: Home) -> object:
    """Return what changes when a folder does, so that it is not read again while none did."""
    found: list[tuple[str, int, int]] = []

    def add(path: Path) -> None:
        try:
            seen = os.stat(path)
        except OSError:
            return
        found.append((str(path), seen.st_mtime_ns, seen.st_size))

    try:
        for batch, runs in home.listing():
            add(home.batch(batch) / BATCH_FILE)
            for run in runs:
                for name in ("run.json", "events.jsonl", "result.json", MARKS_FILE):
                    add(run / name)
    except StoreError:
        return None
    return tuple(found)


def not_in_index(run: str) -> StoreError:
    """Return the error for a change to a run that the database does not know."""
    return StoreError(f"run {run} is not in the database", hint="`dojo reindex` reads it from its folder")


def unknown(reference: str) -> NotFoundError:
    """Return the error for an id that is neither a run's nor a batch's."""
    return NotFoundError(f"no batch or run named {reference!r}", hint="`dojo runs` and `dojo batches` list them")
