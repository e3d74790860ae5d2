"""Who may ask a provider next: limits that all runs share, in turns between them."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from harness.spec.backbone import SharedLimits

_MINUTE_S = 60.0
# A provider that asks for longer is asked again by one call after this.
_HOLD_AT_MOST_S = 600.0
# For whoever waited in vain though the provider asks for no waiting.
_COME_AGAIN_S = 5.0


class NoTurn(Exception):
    """A call did not get its turn.

    Attributes:
        retry_after_s: when to ask again.
        closing: because the server ends.
    """

    def __init__(self, retry_after_s: float, closing: bool = False) -> None:
        super().__init__("closing" if closing else "no turn")
        self.retry_after_s, self.closing = retry_after_s, closing


class Turns:
    """The calls of one backbone, used from one event loop.

    Each client with calls that wait has one begun in its turn, however many it has; its own begin in the order of their coming.

    Args:
        limits: how many at once, and in any minute.
        clock: monotonic seconds.
    """

    def __init__(self, limits: SharedLimits, clock: Callable[[], float]) -> None:
        self._limits, self._clock = limits, clock
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._begun: deque[float] = deque(maxlen=limits.requests_per_minute or 1)
        self._held_until = -math.inf
        self._alarm: asyncio.TimerHandle | None = None
        self._closed = False
        self.working = 0

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return sum(map(len, self._waiting.values()))

    @property
    def held_s(self) -> float:
        """For how long the provider wants nobody to ask, seconds."""
        return max(0.0, self._held_until - self._clock())

    def hold(self, seconds: float) -> None:
        """Begin no call for so long; what has begun goes on."""
        self._held_until = max(self._held_until, self._clock() + min(seconds, _HOLD_AT_MOST_S))

    def close(self) -> None:
        """Let nobody begin any more; who waits is told."""
        self._closed = True
        for each in [future for queue in self._waiting.values() for future in queue if not future.done()]:
            each.set_exception(NoTurn(1, closing=True))
        if self._alarm is not None:
            self._alarm.cancel()

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn of ``client``, and have it as long as the context lasts.

        Raises:
            NoTurn: it did not come in time, or will not.
        """
        if self._closed:
            raise NoTurn(1, closing=True)
        if self.held_s > self._limits.wait_s:
            raise NoTurn(self.held_s)
        await self._wait(client)
        try:
            yield
        finally:
            self.working -= 1
            self._begin()

    async def _wait(self, client: str) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(mine)
        self._begin()
        try:
            async with asyncio.timeout(self._limits.wait_s):
                await mine
        except BaseException as exc:
            if mine.done() and not mine.cancelled() and mine.exception() is None:  # the turn came as its owner left
                self.working -= 1
                self._begin()
            else:
                self._leave(client, mine)
            if isinstance(exc, TimeoutError):
                raise NoTurn(max(self.held_s, _COME_AGAIN_S)) from exc
            raise

    def _leave(self, client: str, mine: asyncio.Future[None]) -> None:
        queue = self._waiting.get(client, deque())
        if mine in queue:  # else it was passed over already
            queue.remove(mine)
            if not queue:
                del self._waiting[client]

    def _begin(self) -> None:
        """Let begin whoever may; where only time is in the way, come back then."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        while self._waiting and self.working < self._limits.concurrency and not self._closed:
            if (wait := self._not_before() - self._clock()) > 0:
                self._alarm = asyncio.get_running_loop().call_later(wait, self._begin)
                return
            client, queue = self._waiting.popitem(last=False)
            first = queue.popleft()
            if queue:
                self._waiting[client] = queue  # at the end: the others come first
            if not first.done():
                first.set_result(None)
                self.working += 1
                self._begun.append(self._clock())

    def _not_before(self) -> float:
        full = self._limits.requests_per_minute is not None and len(self._begun) == self._begun.maxlen
        return max(self._held_until, self._begun[0] + _MINUTE_S if full else -math.inf)
