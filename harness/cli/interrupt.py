"""Ctrl-C: once, no new run starts and what runs is left resumable; twice, out at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from harness.cli.output import Output

INTERRUPTED = 130


class Interrupt:
    """While entered, SIGINT and SIGTERM set ``stop``; the second one ends the process. Only for the main thread."""

    def __init__(self, output: Output) -> None:
        self.stop = threading.Event()
        self._output = output
        self._before: dict[signal.Signals, Any] = {}

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
            if sys.stderr.isatty():
                os.write(2, b"\x1b[?25h\n")  # show the cursor that a progress display may have hidden
            os._exit(INTERRUPTED)
        self.stop.set()
        # Written past Python's buffers: the main thread may be in the middle of a write to the same stream.
        os.write(2, b"\nstopping: no new run starts, what runs is left resumable; once more to leave at once\n")
