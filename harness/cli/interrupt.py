"""Ctrl-C: once, no new run starts and what runs is left resumable; twice, out at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from harness.cli.sanitise import one_line

if TYPE_CHECKING:
    from harness.cli.progress import Row

INTERRUPTED = 130
# A terminal's worth; the others end no later than what is said first.
_LISTED = 8


class Interrupt:
    """While entered, SIGINT and SIGTERM set ``stop``; the second one ends the process. Only for the main thread."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._said = b""
        self._before: dict[signal.Signals, Any] = {}
        self.prepare("")

    def prepare(self, text: str) -> None:
        """Lay down what the first signal says: what goes on, until when, how to go on. Called anew whenever that changes.

        The handler itself puts nothing together: it may interrupt any line of this program, one that holds a lock too.
        """
        between = f" {text}" if text else ""
        said = f"\nstopping: no new run starts.{between}\nCtrl-C once more leaves at once.\n"
        self._said = said.encode(errors="replace")

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._caught)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        if self.stop.is_set():
            # Everything acknowledged is on disk already (events are synced one by one), so nothing is left to tidy up.
            _write(b"\x1b[?25h\n" if os.isatty(2) else b"")  # show the cursor that a progress display may have hidden
            os._exit(INTERRUPTED)
        self.stop.set()
        _write(self._said)


def _write(said: bytes) -> None:
    """Write past Python's buffers: the main thread may be in the middle of a write to the same stream."""
    with suppress(OSError):  # the terminal is gone; that must not keep anybody from stopping
        os.write(2, said)


def goes_on(rows: Iterable[Row], batch: str, now: datetime) -> str:
    """Say what goes on without this process, until when, and how to go on or to stop it now."""
    ends = ending(rows)
    lines = []
    if ends:
        last = max(ends.values())
        many = len(ends) > 1
        who = f"{len(ends)} agents go on working in their sandboxes" if many else "1 agent goes on working in its sandbox"
        lines.append(f"{who} until the budget is over, at {clock(last, now)}" + (" at the latest:" if many else ":"))
        lines += [f"  {one_line(name)}: until {clock(end, now)}" for name, end in list(ends.items())[:_LISTED]]
        lines += [f"  and {len(ends) - _LISTED} more"] if len(ends) > _LISTED else []
    else:
        lines.append("No agent is working.")
    lines.append(f"  dojo resume {batch}   goes on with the batch, and grades what has ended by then")
    lines.append(f"  dojo cancel {batch}   " + ("stops the agents now" if ends else "ends the batch for good"))
    return "\n".join(lines)


def ending(rows: Iterable[Row]) -> dict[str, datetime]:
    """Return run → when its agent's budget ends, for the agents that are working."""
    return {row.name: row.started + timedelta(seconds=row.wall) for row in rows if row.state == "running" and row.started}


def clock(moment: datetime, now: datetime) -> str:
    """Return the local time of day, with the date where it is not today."""
    local = moment.astimezone()
    return f"{local:%H:%M:%S}" if local.date() == now.astimezone().date() else f"{local:%Y-%m-%d %H:%M:%S}"
