"""Noticing that whoever read standard output went away (``| head``) while there is nothing to write."""

from __future__ import annotations

import os
import select
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_POLL_MS = 300


@contextmanager
def until_reader_leaves() -> Iterator[threading.Event]:
    """Yield an event that is set once the reader of a piped standard output is gone; never set for files and terminals."""
    left, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=_watch, args=(left, over), daemon=True, name="reader")
    if _is_pipe():
        thread.start()
    try:
        yield left
    finally:
        over.set()


def _watch(left: threading.Event, over: threading.Event) -> None:
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors are reported without being asked for
    while not over.is_set():
        if poll.poll(_POLL_MS):
            left.set()
            return


def _is_pipe() -> bool:
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
