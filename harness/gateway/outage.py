"""When the backbone itself is down: found by the gateway's own probe alone, waited out by all calls of a run together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from harness.gateway.upstreams.base import UpstreamFailed
from harness.spec.event import LlmOutage

# A probe's good news holds so long: a call that fails though the upstream works is the request's own trouble.
_FRESH_S = 5.0
# An outage is told in pieces of this length, so that a crash loses at most one.
_TOLD_EVERY_S = 30.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 15.0
_PROBE_S = 30.0
# A probe that fails while the run's own calls are upstream may fail for them. No new one goes there until they are over, so long
# at most, and then the upstream is asked alone.
_QUIET_S = 60.0


class Outages:
    """Watches one upstream.

    Args:
        probe: of the upstream; raises `UpstreamFailed`.
        elapsed: seconds on the run's clock, outages left out or not (see `at_s` in `LlmOutage`).
        excused: seconds of outages told so far.
        tell: makes an outage durable.
        clock: monotonic seconds.
        sleep: waits.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[None]],
        elapsed: Callable[[], float],
        excused: Callable[[], float],
        tell: Callable[[LlmOutage], Awaitable[None]],
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._probe, self._elapsed, self._excused, self._tell = probe, elapsed, excused, tell
        self._clock, self._sleep = clock, sleep
        self._well = float("-inf")
        self._watch: asyncio.Task[bool] | None = None
        self._told_until = 0.0
        self._working = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Say that a call of the run is upstream, as long as the context lasts."""
        self._working += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._working -= 1
            if not self._working:
                self._idle.set()

    async def wait_out(self) -> bool:
        """Probe, and wait until the upstream works. Many calls share one probe and one outage.

        Returns:
            Whether there was an outage.
        """
        if self._watch is None:
            if self._clock() - self._well < _FRESH_S:
                return False
            self._watch = asyncio.ensure_future(self._watched())
            self._watch.add_done_callback(self._over)
        return await asyncio.shield(self._watch)

    async def over(self) -> None:
        """Wait for the end of an outage that is known already."""
        if self._watch is not None:
            await asyncio.shield(self._watch)

    async def close(self) -> None:
        """Stop watching; an outage is told up to now."""
        watch = self._watch
        while watch is not None and not watch.done():
            # asked again: libraries below may take a cancellation for their own
            watch.cancel()
            await asyncio.wait({watch}, timeout=1)

    def _over(self, _: asyncio.Task[bool]) -> None:
        self._watch = None

    async def _works(self) -> UpstreamFailed | None:
        """Return what is wrong, or None."""
        try:
            async with asyncio.timeout(_PROBE_S):
                await self._probe()
        except UpstreamFailed as failed:
            # it answers, if only that it is busy or does not like our probe
            return failed if failed.kind == "broken" else None
        except TimeoutError:
            return UpstreamFailed("broken", f"no answer to a probe in {_PROBE_S:g} s")
        return None

    async def _quiet(self) -> None:
        """Wait for the run's own calls that are upstream, so long at most."""
        waits = [asyncio.ensure_future(self._idle.wait()), asyncio.ensure_future(self._sleep(_QUIET_S))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _now(self) -> tuple[float, float]:
        """Return when an outage begins that begins now: on the run's clock, and on ours."""
        # excused time is taken off the run's clock, so that two outages would lie upon one another there: it is added again
        return max(self._elapsed() + self._excused(), self._told_until), self._clock()

    async def _watched(self) -> bool:
        begun, since = self._now()
        wrong = await self._works()
        if wrong is not None and self._working and not wrong.never_connected:
            await self._quiet()  # time that the run's own calls take is the run's
            begun, since = self._now()
            wrong = None if self._working else await self._works()
        if wrong is None:
            self._well = self._clock()
            return False
        told, wait, message = since, _FIRST_WAIT_S, wrong.message
        try:
            while wrong is not None:
                await self._sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT_S)
                wrong = await self._works()
                message = wrong.message if wrong else message
                if self._clock() - told >= _TOLD_EVERY_S and wrong is not None:
                    told = await self._say(begun, since, told, message)
            self._well = self._clock()
        finally:
            await asyncio.shield(self._say(begun, since, told, message))
        return True

    async def _say(self, begun: float, since: float, told: float, message: str) -> float:
        now = self._clock()
        if now > told:
            at = begun + told - since
            self._told_until = at + now - told
            await self._tell(LlmOutage(at_s=round(at, 3), seconds=round(now - told, 3), message=message[:500]))
        return now
