"""The live end of a run's events: append, fold, tell the listeners. One writer, many readers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from harness.session.record import RunRecord, fold
from harness.spec.event import Event, EventKind
from harness.spec.outcome import RunState
from harness.store.run_dir import EventListener, RunDir


class Journal:
    """Appends events to a run's folder and keeps the folded `RunRecord` beside them.

    Args:
        run: the run's folder.
        on_state: called after a transition is on disk, before anybody hears of it (the database write).
        listener: called with every event after it is on disk.
    """

    def __init__(self, run: RunDir, on_state: Callable[[RunState], None], listener: EventListener | None = None) -> None:
        self.run = run
        self._on_state = on_state
        self._listener = listener
        self._lock = threading.RLock()
        self._record = fold(run.events())
        self.elapsed: Callable[[], float] = lambda: self._record.elapsed_s

    @property
    def record(self) -> RunRecord:
        """The run as known now; a frozen value."""
        return self._record

    def emit(self, kind: EventKind, data: dict[str, Any] | None = None) -> Event:
        """Append one event. When this returns it is on disk."""
        with self._lock:
            event = self.run.append(kind, data, self.elapsed())
            self._record = fold([event], self._record)
            if kind is EventKind.STATE:
                self._on_state(self._record.state)
        if self._listener:
            self._listener(self.run.path.name, event)
        return event

    def enter(self, state: RunState, **data: Any) -> None:
        """Make the transition to ``state``: one event and one database write."""
        self.emit(EventKind.STATE, {"state": state.value, **data})
