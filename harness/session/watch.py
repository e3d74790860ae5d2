"""Reading a run while it goes on: events and output, live."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from harness.session.record import RunRecord, fold
from harness.spec.event import Event
from harness.store.run_dir import RunDir

# The folder is polled: it may be written by another process, or lie on a network file system.
_POLL_S = 0.3


def follow_events(run: RunDir, follow: bool, stop: threading.Event) -> Iterator[Event]:
    """Yield a run's events from the first; with ``follow`` wait for more until the run ends or ``stop`` is set."""
    seen = 0
    record = RunRecord()
    while True:
        for event in run.events(seen):
            seen = event.seq + 1
            record = fold([event], record)
            yield event
        if not follow or record.state.final or stop.wait(_POLL_S):
            return


def follow_output(run: RunDir, name: str, follow: bool, stop: threading.Event) -> Iterator[bytes]:
    """Yield the bytes of an output file; with ``follow`` until the run has ended and all was read.

    While nothing new comes an empty piece is yielded now and then, so that who follows can tell what it holds back.
    """
    path = run.path / name
    offset = 0
    while True:
        ended = not follow or fold(run.events()).state.final
        if path.exists():
            with path.open("rb") as source:
                source.seek(offset)
                while piece := source.read(64 * 1024):
                    offset += len(piece)
                    yield piece
        if ended or stop.wait(_POLL_S):
            return
        yield b""
