"""Memory that one run's callers may make the harness hold: bodies on their way in, answers on their way out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Room:
    """So many bytes for all calls of one server together; who finds none waits for its turn, in the order of coming.

    Args:
        total: bytes. One taker never gets more than these; what is larger is refused before it asks.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._changed = asyncio.Condition()
        self._queue: list[object] = []

    @asynccontextmanager
    async def take(self, size: int) -> AsyncIterator[None]:
        """Hold ``size`` bytes, at most all there are, as long as the context lasts."""
        size = min(size, self.total)
        turn = object()
        self._queue.append(turn)
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: self._queue[0] is turn and self._free >= size)
                self._free -= size
        finally:
            self._queue.remove(turn)
            async with self._changed:
                self._changed.notify_all()
        try:
            yield
        finally:
            async with self._changed:
                self._free += size
                self._changed.notify_all()
