"""Whose turn it is on a machine: runs that wait for room, of all dojo processes and users, in the order in which they came.

Without an order whoever looks first after a run has ended takes its room, which is the batch that the run was of: its next run
waits in the same process, and another's run would wait until the whole batch is over. Nobody overtakes: a run that wants the
whole machine gets it when what runs has ended, however many small ones come after it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import time
from pathlib import Path
from typing import BinaryIO


class Tickets:
    """The tickets of those who wait, small files in the folder of claims. One counts while its process holds its lock.

    Call it while nobody else looks: `Slots` holds its ledger.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mine: dict[str, tuple[BinaryIO, Path]] = {}

    def take(self, run: str) -> None:
        """Let a run wait in the queue from now on; it keeps the place it has."""
        if run in self._mine:
            return
        path = self._folder / f"{run}.waits"
        try:
            path.unlink()  # a dead process's, or that of another one that waits for this very run: both begin anew
        except FileNotFoundError:
            pass
        except OSError:  # another user's, who alone can remove it; nobody counts it where he is dead
            path = self._folder / f"{run}.{secrets.token_hex(4)}.waits"
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644), "r+b")
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps({"run": run, "since": time.time()}).encode())
        file.flush()
        self._mine[run] = file, path

    def give_back(self, run: str) -> None:
        """Let a run wait no more."""
        if (mine := self._mine.pop(run, None)) is not None:
            file, path = mine
            with contextlib.suppress(OSError):
                path.unlink()
            file.close()

    def before(self, run: str) -> list[str]:
        """Return the runs whose turn comes before that of ``run``, which may have no ticket yet, first come first."""
        waiting = sorted(ticket for path in self._folder.glob("*.waits") if (ticket := self._living(path)) is not None)
        runs = [waits for _, waits in waiting]
        return runs[: runs.index(run)] if run in runs else runs

    def _living(self, path: Path) -> tuple[float, str] | None:
        """Read a ticket; None where its process is gone, or where it is none. One of a dead process of ours is removed."""
        try:
            with path.open("rb") as file:
                if all(path != mine for _, mine in self._mine.values()):
                    with contextlib.suppress(BlockingIOError):
                        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                        path.unlink()
                        return None
                ticket = json.loads(file.read())
                return float(ticket["since"]), str(ticket["run"])
        except (OSError, ValueError, KeyError, TypeError):  # gone, another user's that nobody holds, or a stranger's file
            return None
