"""Trying a call again where the upstream is busy or broken: as it asks, with jitter, within bounds, the waiting known."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from harness.gateway.outage import Outages
from harness.gateway.upstreams.base import Answer, Call, Upstream, UpstreamFailed

# The first wait without a word from the upstream; doubled each time, and drawn from its upper half.
_FIRST_S, _LONGEST_S = 0.5, 30.0
# An upstream that asks for more patience than this is told to the agent instead, with what it asked for.
_PATIENCE_S = 120.0


@dataclass
class Tried:
    """How a call fares upstream. ``unknown``: a try may have made the upstream work, and gave no answer."""

    tries: int = 0
    waited_s: float = 0.0
    unknown: bool = False


@dataclass(frozen=True)
class Begun:
    """An answer whose first bytes are here; ``first`` is empty where the body is."""

    answer: Answer
    first: bytes
    rest: AsyncIterator[bytes]


@dataclass(frozen=True)
class Retries:
    """Tries calls.

    Attributes:
        upstream: what answers.
        outages: says whether the upstream is down.
        attempts: tries of one call at most; an outage of the upstream itself takes none.
        timeout_s: for the first bytes of an answer.
        clock: monotonic seconds.
        sleep: waits.
        jitter: returns a number from 0 to 1.
    """

    upstream: Upstream
    outages: Outages
    attempts: int
    timeout_s: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = field(default=random.random)

    async def send(self, call: Call, tried: Tried) -> Begun:
        """Send a call until its answer begins.

        Raises:
            UpstreamFailed: it was refused, or all tries failed.
        """
        failures = 0
        while True:
            before = self.clock()
            await self.outages.over()
            tried.waited_s += self.clock() - before
            tried.tries += 1
            try:
                with self.outages.at_work():
                    return await self._begin(call)
            except UpstreamFailed as failed:
                tried.unknown |= failed.kind == "broken" and failed.status is None and not failed.never_connected
                before = self.clock()
                down = failed.kind == "broken" and await self.outages.wait_out()
                failures += not down
                if failed.kind == "refused" or failures >= self.attempts:
                    raise
                if not down:
                    wait = self._wait(failures, failed.retry_after_s)
                    if wait > _PATIENCE_S:
                        raise
                    await self.sleep(wait)
                tried.waited_s += self.clock() - before

    async def _begin(self, call: Call) -> Begun:
        try:
            async with asyncio.timeout(self.timeout_s):
                answer = await self.upstream.send(call)
                rest = aiter(answer.body)
                try:
                    return Begun(answer, await anext(rest, b""), rest)
                except BaseException:
                    await closed(rest)
                    raise
        except TimeoutError:
            raise UpstreamFailed("broken", f"no answer began within {self.timeout_s:g} s") from None

    def _wait(self, failures: int, asked: float | None) -> float:
        if asked is not None:
            return max(0.0, asked) + self.jitter() * _FIRST_S
        longest = min(_LONGEST_S, _FIRST_S * 2.0 ** (failures - 1))
        return longest * (0.5 + 0.5 * self.jitter())


async def closed(body: AsyncIterator[bytes]) -> None:
    """Stop reading an answer, which cancels the upstream's work."""
    close = getattr(body, "aclose", None)
    if close is not None:
        await close()
