"""The live end of a run's events: append, fold, tell the listeners. One writer, many readers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from harness.session.record import RunRecord, fold
from harness.spec.errors import StoreError
from harness.spec.event import Entered, Event, Graded, Payload
from harness.spec.outcome import RunState
from harness.spec.result import GradeRecord
from harness.store.run_dir import EventListener, RunDir


class Journal:
    """Appends events to a run's folder and keeps the folded `RunRecord` beside them.

    Args:
        run: the run's folder.
        on_state: called after a transition is on disk, before anybody hears of it (the database write).
        listener: called with every event after it is on disk.
        held: asked before every event whether this process still drives the run.
    """

    def __init__(
        self,
        run: RunDir,
        on_state: Callable[[RunState], None],
        listener: EventListener | None = None,
        held: Callable[[], bool] = lambda: True,
    ) -> None:
        self.run, self._held = run, held
        self._on_state = on_state
        self._listener = listener
        self._lock = threading.RLock()
        self._record = fold(run.events())
        self.elapsed: Callable[[], float] = lambda: self._record.elapsed_s

    @property
    def record(self) -> RunRecord:
        """The run as known now; a frozen value."""
        return self._record

    def emit(self, payload: Payload) -> Event:
        """Append one event. When this returns it is on disk.

        Raises:
            StoreError: another process has taken the run over (code ``lost``), or the disk is full.
        """
        with self._lock:
            self._require_ours()
            event = self.run.append(payload, elapsed_s=self.elapsed())
            self._record = fold([event], self._record)
            if isinstance(payload, Entered):
                self._on_state(self._record.state)
        if self._listener:
            try:
                self._listener(self.run.path.name, event)
            except Exception:  # whoever looks on has no say in the run: a display may be closed, or its disk full
                logging.getLogger(__name__).warning(
                    "what listens to run %s failed; the run goes on", self.run.path.name, exc_info=True
                )
        return event

    def enter(self, state: RunState, attempt: int | None = None, why: str | None = None) -> None:
        """Make the transition to ``state``: one event and one database write."""
        self.emit(Entered(state=state, attempt=attempt, why=why))

    def grade(self, grade: GradeRecord) -> None:
        """Append a grade."""
        self.emit(Graded(**grade.model_dump()))

    def _require_ours(self) -> None:
        if not self._held():
            raise StoreError(
                f"run {self.run.path.name} was taken over by another dojo process",
                hint="`dojo status` shows where it stands; nothing that was acknowledged is lost",
                code="lost",
            )
