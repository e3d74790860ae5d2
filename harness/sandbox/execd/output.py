"""What is kept of a command's output."""

from __future__ import annotations

from typing import Protocol

# what tells "much more than wanted" from "a little": the tail is only cut when it has grown by this
_SLACK = 64 * 1024


class Sink(Protocol):
    """Takes the output of one stream."""

    def add(self, data: bytes) -> None:
        """Take the next piece."""


class HeadTail:
    """Keeps the first and the last half of ``cap`` bytes of a stream."""

    def __init__(self, cap: int) -> None:
        self._half = max(1, cap // 2)
        self._head = bytearray()
        self._tail = bytearray()
        self._total = 0

    def add(self, data: bytes) -> None:
        """Take the next piece."""
        self._total += len(data)
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data
        if len(self._tail) > 2 * self._half + _SLACK:
            del self._tail[: -self._half]

    @property
    def truncated(self) -> bool:
        """Whether something was left out."""
        return self._total > 2 * self._half

    def value(self) -> bytes:
        """Return what was kept, with a line that says how much is missing."""
        if not self.truncated:
            return bytes(self._head + self._tail)
        missing = self._total - 2 * self._half
        return bytes(self._head) + b"\n[... %d bytes left out ...]\n" % missing + bytes(self._tail[-self._half :])
