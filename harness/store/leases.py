"""Who drives which run: one row a claim, renewed by a heartbeat, taken over from the dead."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from harness.spec.errors import StoreError
from harness.store.owner import Owner
from harness.store.tables import leases, runs

TTL_S = 30.0
BEAT_S = 5.0

Change = Callable[[Callable[[Connection], bool]], bool]


class SqlLease:
    """A claim of this process; see `base.Lease`."""

    def __init__(self, holder: Leases, run: str, token: str) -> None:
        self.run, self.token = run, token
        self.lost = threading.Event()
        self.renewed = holder.ticks()
        self._holder = holder

    def held(self) -> bool:
        """Whether nobody else can drive the run now; looks again where the last renewal is too long ago."""
        if not self.lost.is_set() and self._holder.ticks() - self.renewed > TTL_S / 2:
            self._holder.beat()
        return not self.lost.is_set()

    def release(self) -> None:
        """Give the run up."""
        self._holder.release(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


class Leases:
    """The leases of this process, and a thread that renews them while there are any.

    Args:
        write: runs a change in a transaction of its own.
        owner: this process.
        clock: seconds since 1970, alike for all who share the database.
        ticks: seconds that go on while the machine sleeps; only differences count.
    """

    def __init__(
        self, write: Change, owner: Owner, clock: Callable[[Connection], float], ticks: Callable[[], float] | None = None
    ) -> None:
        self._write, self._owner, self._clock = write, owner, clock
        self.ticks = ticks or _ticks
        self._held: dict[str, SqlLease] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def claim(self, run: str) -> SqlLease:
        """Take the lease of a run.

        Raises:
            StoreError: somebody has it (code ``busy``), or there is no such run.
        """
        lease = SqlLease(self, run, secrets.token_hex(16))
        self._write(lambda connection: self._take(connection, lease))
        with self._lock:
            self._held[lease.token] = lease
            if self._thread is None:
                self._stop.clear()
                self._thread = threading.Thread(target=self._renew_for_ever, args=(self._stop,), name="leases", daemon=True)
                self._thread.start()
        return lease

    def release(self, lease: SqlLease) -> None:
        """Give a lease back; where the database does not answer it runs out by itself."""
        with self._lock:
            if self._held.pop(lease.token, None) is None:
                return
            if not self._held:
                self._stop.set()
                self._stop, self._thread = threading.Event(), None
        with contextlib.suppress(StoreError):
            self._write(lambda connection: _run(connection, delete(leases).where(leases.c.token == lease.token)))
        lease.lost.set()

    def close(self) -> None:
        """Give all leases back."""
        for lease in list(self._held.values()):
            lease.release()

    def beat(self) -> None:
        """Renew every lease held, and mark those as lost that are somebody else's, or could not be renewed for too long."""
        with self._lock:
            held = list(self._held.values())
        if not held:
            return
        tokens = [lease.token for lease in held]
        ours: set[str] = set()

        def renew(connection: Connection) -> bool:
            now = self._clock(connection)
            connection.execute(update(leases).where(leases.c.token.in_(tokens)).values(renewed=now))
            ours.update(connection.scalars(select(leases.c.token).where(leases.c.token.in_(tokens))))
            return True

        started = self.ticks()
        try:
            self._write(renew)
        except StoreError:
            late = [lease for lease in held if self.ticks() - lease.renewed > TTL_S]
            self._drop(late)
            return
        for lease in held:
            if lease.token in ours:
                lease.renewed = started
        self._drop([lease for lease in held if lease.token not in ours])

    def holders_in(self, connection: Connection, runs: Sequence[str]) -> dict[str, str]:
        """Say who drives which of some runs; those that nobody drives are left out."""
        found = {}
        for row in connection.execute(select(leases).where(leases.c.run.in_(runs))):
            owner = Owner(row.host, row.boot, row.pid, row.started)
            if not self._over(owner, row.renewed, connection):
                found[row.run] = str(owner)
        return found

    def _take(self, connection: Connection, lease: SqlLease) -> bool:
        if connection.execute(select(runs.c.id).where(runs.c.id == lease.run)).first() is None:
            raise StoreError(f"run {lease.run} is not in the database", hint="`dojo reindex` reads it from its folder")
        me = self._owner
        values: dict[str, str | int | float] = {
            "token": lease.token,
            "host": me.host,
            "boot": me.boot,
            "pid": me.pid,
            "started": me.started,
            "renewed": self._clock(connection),
        }
        try:
            with connection.begin_nested():
                connection.execute(insert(leases).values(run=lease.run, **values))
            return True
        except IntegrityError:
            row = connection.execute(select(leases).where(leases.c.run == lease.run)).first()
        if row is not None:
            owner = Owner(row.host, row.boot, row.pid, row.started)
            same = (leases.c.run == lease.run, leases.c.token == row.token, leases.c.renewed == row.renewed)
            if (
                self._over(owner, row.renewed, connection)
                and connection.execute(update(leases).where(*same).values(**values)).rowcount == 1
            ):
                return True
        who = str(Owner(row.host, row.boot, row.pid, row.started)) if row is not None else "it ended just now; try again"
        raise StoreError(
            f"run {lease.run} is driven by another dojo process ({who})",
            hint="`dojo status` shows it; end that process first if it hangs",
            code="busy",
        )

    def _over(self, owner: Owner, renewed: float, connection: Connection) -> bool:
        """Whether a lease is nobody's. A process that lives here keeps its own, even one that is stopped and renews nothing."""
        alive = owner.alive(self._owner)
        return self._clock(connection) - renewed > TTL_S if alive is None else not alive

    def _drop(self, lost: list[SqlLease]) -> None:
        with self._lock:
            for lease in lost:
                self._held.pop(lease.token, None)
        for lease in lost:
            lease.lost.set()

    def _renew_for_ever(self, stop: threading.Event) -> None:
        while not stop.wait(BEAT_S):
            self.beat()


def _run(connection: Connection, statement: object) -> bool:
    connection.execute(statement)  # type: ignore[call-overload]
    return True


def _ticks() -> float:
    """Return seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
