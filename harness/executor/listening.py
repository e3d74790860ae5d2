"""Events of runs that are driven elsewhere, read from their folders as they come."""

from __future__ import annotations

import time
from collections.abc import Iterable

from harness.spec.errors import DojoError
from harness.store.base import Store
from harness.store.run_dir import EventListener, RunDir

# The folders may lie on a network file system; a look at one that has not changed is one call.
_EVERY_S = 1.0


class Listening:
    """Tells a listener of every event once, from when a run was first seen on.

    Args:
        store: where the runs are.
        listener: who is told; None: nobody, and nothing is read.
    """

    def __init__(self, store: Store, listener: EventListener | None) -> None:
        self._store, self._listener = store, listener
        self._read: dict[str, tuple[int, int]] = {}
        self._files: dict[str, RunDir] = {}  # asking the index for each of thousands of runs every second is all that it would do
        self._next = 0.0

    def begin(self, run: str) -> None:
        """Leave out what has been written so far."""
        if self._listener is not None:
            files = self._files[run] = self._store.files(run)
            size = files.events_path.stat().st_size if files.events_path.exists() else 0
            self._read[run] = sum(1 for _ in files.readable_events()), size

    def tell(self, runs: Iterable[str], last: bool = False) -> None:
        """Look at these runs' events, at most once a second but for the ``last`` time."""
        if self._listener is None or (time.monotonic() < self._next and not last):
            return
        self._next = time.monotonic() + _EVERY_S
        for run in list(runs):
            try:
                self._tell_of(run, self._listener)
            except DojoError:  # damage is said where the run is listed
                continue

    def _tell_of(self, run: str, listener: EventListener) -> None:
        files = self._files.get(run) or self._store.files(run)
        size = files.events_path.stat().st_size if files.events_path.exists() else 0
        seen, read = self._read.get(run, (0, 0))
        if size == read:
            return
        for event in files.events(seen):
            seen = event.seq + 1
            listener(run, event)
        self._read[run] = seen, size
