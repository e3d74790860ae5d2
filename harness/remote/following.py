"""Following a service: a stream is read in a thread, so that who is to stop does so while nothing comes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

POLL_S = 1.0
AGAIN = 5
"""How often a stream that broke is taken up again before that is told."""


def passed_on(pieces: Iterable[T], stop: threading.Event) -> Iterator[T]:
    """Yield what comes of ``pieces`` until they end or ``stop`` is set. Raises what they raise."""
    found: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(maxsize=256)

    def read() -> None:
        try:
            for piece in pieces:
                found.put((piece,))
            found.put(None)
        except Exception as exc:
            found.put(exc)

    threading.Thread(target=read, daemon=True, name="service").start()
    while not stop.is_set():
        try:
            piece = found.get(timeout=POLL_S)
        except queue.Empty:
            continue
        if piece is None:
            return
        if isinstance(piece, BaseException):
            raise piece
        yield piece[0]
