"""What a run's agent did and said: its trajectory for other tools, its talk with its backbone for people."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from harness.service.bench import Bench
from harness.spec.base import Spec
from harness.spec.errors import StoreError, UsageError
from harness.spec.event import Entered, Event, LlmCalled, LlmRefused
from harness.spec.outcome import RunState

if TYPE_CHECKING:
    from harness.export.llm_log import LlmLine

# The folder is polled: another process writes it.
_POLL_S = 0.3
# A call's recording may come a moment after its line in the ledger; one that is this many calls late was never written.
_LATE = 8


class Exported(Spec):
    """A trajectory that was written out."""

    run: str
    format: str
    path: Path
    bytes: int
    steps: int | None = Field(None, description="counted where it was validated")


class Trajectories(Bench):
    """Telling runs."""

    def export(self, reference: str, format: str = "atif", out: Path | None = None, *, validate: bool = False) -> Exported:
        """Write a run's trajectory anew from its events and its recording; a run that goes on is told as far as it is.

        Args:
            reference: the run.
            format: ``atif``.
            out: the file; default ``trajectory.json`` in the run's folder.
            validate: hold it against ATIF's own models.

        Raises:
            UsageError: no such format, or ``out`` cannot be a file.
            MissingError: ``validate`` without the extra ``atif``.
            StoreError: it cannot be written.
        """
        from harness.export.atif import write_trajectory
        from harness.export.checking import check_trajectory
        from harness.session.record import fold
        from harness.session.story import story_of

        if format != "atif":
            raise UsageError(f"there is no format {format!r} to export runs in", hint="atif")
        run = self.store.resolve(reference, "run")
        files = self.store.files(run)
        target = out or files.trajectory_path
        if target.is_dir() or not target.parent.is_dir():
            raise UsageError(f"{target} cannot be written as a file", hint="give --out a file in a folder that exists")
        try:
            write_trajectory(target, story_of(files.spec(), files, fold(files.readable_events()).outcome))
        except OSError as exc:
            raise StoreError(
                f"cannot write {target}: {exc.strerror or exc}", hint="free disk space, or give another --out"
            ) from exc
        steps = check_trajectory(target) if validate else None
        return Exported(run=run, format=format, path=target, bytes=target.stat().st_size, steps=steps)

    def talk(self, reference: str, follow: bool = False, stop: threading.Event | None = None) -> Iterator[LlmLine]:
        """Yield the calls of a run's agent to its backbone; with ``follow`` until the run ends.

        Raises:
            UsageError: the run has no backbone.
        """
        from harness.export.llm_log import LlmLog, refused
        from harness.gateway.recording import Recording

        run = self.store.resolve(reference, "run")
        files = self.store.files(run)
        if files.spec().backbone is None:
            raise UsageError(
                f"run {run} has no backbone, so there is no talk", hint=f"`dojo logs {run}` shows what its agent did"
            )
        stop = stop or threading.Event()
        log, called, seen, ended = LlmLog(), dict[int, Event](), 0, False
        while True:
            news = False
            for event in files.events(seen):
                seen = event.seq + 1
                match event.data:
                    case LlmCalled(call=number):
                        called[number], news = event, True
                    case LlmRefused():
                        yield refused(event)
                    case Entered(state=RunState.QUEUED):
                        log, called = LlmLog(), {}  # another attempt, whose calls are counted anew
                    case Entered(state=state):
                        ended = state.final
            if news and files.talk.exists():
                yield from log.recorded(Recording(files.talk).read(), called)
            over = not follow or ended or stop.is_set()
            late = called if over else {number: event for number, event in called.items() if number <= max(called) - _LATE}
            yield from log.unrecorded(late)
            if over or stop.wait(_POLL_S):
                return
