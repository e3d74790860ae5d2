"""Connections to the index: looking never writes, writing is one transaction at a time.

SQLite's own read-only mode still makes ``-wal`` and ``-shm`` files beside a database in WAL mode, or fails where it may not. So a
database that nobody writes (no ``-wal`` file) is opened as immutable, and read again where it turns out that somebody began to.
"""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool, StaticPool

from harness.spec.errors import MissingError, StoreError, UsageError
from harness.store.base import AWAY
from harness.store.tables import VERSION, alembic_version, metadata

T = TypeVar("T")
_BUSY_S = 30.0
# A server that is cut off answers nothing, and without these a question to it is waited for a quarter of an hour: seconds to
# connect, milliseconds until what was sent must have arrived, seconds until a silent connection is tried. An address may say
# otherwise.
_SILENCE = {"connect_timeout": 10, "tcp_user_timeout": 15_000, "keepalives_idle": 15, "keepalives_interval": 5}
# A server that shuts down, crashed or starts: while it is asked; or is full, besides: to who connects, without a code.
_ENDING = frozenset({"57P01", "57P02", "57P03"})
_PASSING = ("starting up", "shutting down", "not yet accepting", "too many clients", "remaining connection slots")
# How often a look is repeated because somebody began to write meanwhile, before it joins the writers.
_LOOKS = 3
# What SQLite says of a file whose content is wrong, unlike one that is locked or may not be opened.
# What SQLite says where the machine keeps it from the file.
_KEPT_OUT = ("unable to open database file", "readonly database", "database or disk is full", "disk I/O error")
_DAMAGE = ("malformed", "not a database", "no such table", "no such column")


class Condition(Enum):
    """What a database is to this version of dojo."""

    CURRENT = "current"
    MISSING = "missing"
    OLDER = "of an earlier dojo"
    NEWER = "of a newer dojo"
    DAMAGED = "damaged"
    SILENT = "out of reach"


class NotReadable(Exception):
    """The index cannot answer as it is; its folders can."""

    def __init__(self, condition: Condition, detail: str = "") -> None:
        super().__init__(detail or condition.value)
        self.condition, self.detail = condition, detail


# A server is asked for its version once in so many seconds; a file, which may be replaced at any time, at every look.
_JUDGED_S = 5.0


def condition_of(connection: Connection) -> Condition:
    """Say what the database is, from its tables and the version it names."""
    found = set(inspect(connection).get_table_names())
    if "alembic_version" not in found:
        return Condition.OLDER if "runs" in found else Condition.MISSING
    version = connection.execute(select(alembic_version.c.version_num)).scalar()
    if version is None or version == VERSION:
        return Condition.CURRENT if version else Condition.DAMAGED
    return Condition.OLDER if version < VERSION else Condition.NEWER


class Database:
    """One database, SQLite or PostgreSQL. Every call is one transaction.

    Args:
        url: an SQLAlchemy URL.

    Raises:
        UsageError: the URL is none.
        MissingError: its driver is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = _parse(url)
        self.path = Path(self.url.database or "") if self.url.get_backend_name() == "sqlite" else None
        self._lookers = {quiet: self._looker(quiet) for quiet in (True, False)} if self.path else {}
        self._engine: Engine | None = None
        self._inode: int | None = None
        self._lock = threading.RLock()
        self.prepared = False
        self._judged = -math.inf

    def look(self, query: Callable[[Connection], T], judge: bool = True) -> T:
        """Run a query that only reads. Nothing is made, migrated or left behind.

        Args:
            query: what to ask.
            judge: False asks a database of any version.

        Raises:
            NotReadable: the database is missing, of another version or damaged.
        """
        if self.path is None or (self._engine is not None and self._inode == _inode(self.path)):
            return self._ask(self._writer(), query, judge)
        wal = self.path.with_name(self.path.name + "-wal")
        for _ in range(_LOOKS):
            before = _stamp(self.path)
            if before is None:
                raise NotReadable(Condition.MISSING)
            quiet = not wal.exists()
            found = self._ask(self._lookers[quiet], query, judge)
            if not quiet or (_stamp(self.path) == before and not wal.exists()):
                return found
        return self._ask(self._lookers[False], query, judge)

    def write(self, change: Callable[[Connection], T]) -> T:
        """Run a change in a transaction of its own.

        Raises:
            StoreError: it failed; nothing was changed.
        """
        try:
            with self._writer().begin() as connection:
                return change(connection)
        except SQLAlchemyError as exc:
            raise self._failed(exc) from exc

    def close(self) -> None:
        """Release the connections."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        self.prepared = False

    def condition(self) -> Condition:
        """Say what the database is, looking only."""
        try:
            return self.look(condition_of, judge=False)
        except NotReadable as exc:
            return exc.condition

    def stale(self) -> bool:
        """Whether the next change is the first one to this file or server, so that its schema must be looked at."""
        with self._lock:
            self._writer()
            return not self.prepared

    def _ask(self, engine: Engine, query: Callable[[Connection], T], judge: bool) -> T:
        try:
            with engine.connect().execution_options(looking=True) as connection:
                if judge and (self.path is not None or time.monotonic() - self._judged > _JUDGED_S):
                    if (condition := condition_of(connection)) is not Condition.CURRENT:
                        raise NotReadable(condition)
                    self._judged = time.monotonic()
                return query(connection)
        except DBAPIError as exc:
            text = _first_line(exc)
            away = isinstance(exc, OperationalError) and not any(sign in text for sign in _DAMAGE)
            raise NotReadable(Condition.SILENT if away else Condition.DAMAGED, text) from exc

    def _writer(self) -> Engine:
        """Return the engine; a SQLite file that was replaced meanwhile (reindex) is opened anew."""
        with self._lock:
            if self._engine is None or (self.path is not None and self._inode != _inode(self.path)):
                self.close()
                self._engine = self._open()
            return self._engine

    def _open(self) -> Engine:
        if self.path is None:
            given = {name: value for name, value in _SILENCE.items() if name not in self.url.query}
            return create_engine(self.url, pool_pre_ping=True, connect_args=given)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            engine = create_engine(self.url, connect_args={"timeout": _BUSY_S})
            event.listen(engine, "connect", _for_writing)
            event.listen(engine, "begin", _begin)
            with engine.connect():
                self._inode = _inode(self.path)
        except OSError as exc:
            raise StoreError(
                f"DOJO_HOME {self.path.parent} cannot be made: {exc.strerror}", hint="set DOJO_HOME to a writable place"
            ) from exc
        except SQLAlchemyError as exc:
            raise self._failed(exc) from exc
        return engine

    def _looker(self, quiet: bool) -> Engine:
        def open_file() -> sqlite3.Connection:
            mode = "mode=ro&immutable=1" if quiet else "mode=ro"
            return sqlite3.connect(f"file:{quote(str(self.path))}?{mode}", uri=True, timeout=_BUSY_S, isolation_level=None)

        engine = create_engine("sqlite://", creator=open_file, poolclass=NullPool)
        event.listen(engine, "begin", _begin)
        return engine

    def _failed(self, exc: SQLAlchemyError) -> StoreError:
        where = self.path or self.url.render_as_string(hide_password=True)
        if self.path is None:
            hint = "check that the server runs and lets this user in; run folders are complete without it"
        elif any(sign in str(exc) for sign in _DAMAGE):
            hint = "rebuild it from the run folders with `dojo reindex`"
        else:
            hint = "check free disk space and permissions there; run folders are complete without it"
        code = "environment" if any(sign in str(exc) for sign in _KEPT_OUT) else None
        if self.path is None and isinstance(exc, OperationalError) and _away(exc):
            code = AWAY
        return StoreError(f"the database {where} failed: {_first_line(exc)}", hint=hint, code=code)


def _away(exc: OperationalError) -> bool:
    """Whether a server may well answer in a moment: it did not at all, or is about to end or to begin."""
    state, text = getattr(exc.orig, "sqlstate", None), str(exc)
    refused = "FATAL" in text and not any(sign in text for sign in _PASSING)
    return state in _ENDING or (state is None and not refused)


def memory() -> Engine:
    """Return an empty index that lives as long as the engine."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    metadata.create_all(engine)
    return engine


def create(connection: Connection) -> None:
    """Make the newest schema in an empty database."""
    metadata.create_all(connection)
    connection.execute(alembic_version.insert().values(version_num=VERSION))


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise UsageError(f"database {parsed.get_backend_name()!r} is not supported", hint="sqlite or postgresql")
        parsed.get_dialect().import_dbapi()
    except (ArgumentError, NoSuchModuleError) as exc:
        raise UsageError(f"the database URL is none: {_first_line(exc)}", hint="for example postgresql://user@host/dojo") from exc
    except ImportError as exc:
        raise MissingError(f"the database driver {exc.name} is not installed", hint="pip install 'dojo-bench[postgres]'") from exc
    return parsed


def _for_writing(connection: Any, _record: Any) -> None:
    """Let readers read while a run writes, and writers wait for each other."""
    connection.isolation_level = None  # BEGIN is ours (`_begin`): schema changes are part of a transaction, too
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={int(_BUSY_S * 1000)}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _begin(connection: Connection) -> None:
    """Begin writing at once: a transaction that reads first and writes later may have to fail."""
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("looking") else "BEGIN IMMEDIATE")


def _first_line(exc: Exception) -> str:
    return str(exc).splitlines()[0]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _inode(path: Path) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None
