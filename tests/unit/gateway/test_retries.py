"""Trying again, and waiting outages out, on a clock that tests drive."""

import asyncio
from typing import Any

import pytest

from harness.gateway.ledger import Ledger
from harness.gateway.outage import Outages
from harness.gateway.retries import Retries, Tried
from harness.gateway.upstreams.base import Call, UpstreamFailed
from harness.spec.event import LlmOutage
from tests.unit.gateway.conftest import ScriptedUpstream, chat_reply, failed

CALL = Call(1, "chat", "m", {}, False, "", {})


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)
        self.now += seconds
        await asyncio.sleep(0)


class Place:
    def __init__(self, *answers: Any, attempts: int = 5, jitter: float = 0.0) -> None:
        self.time, self.upstream, self.told = Time(), ScriptedUpstream(), list[LlmOutage]()
        left = list(answers)
        self.upstream.answer = lambda call: left.pop(0) if left else chat_reply()
        self.outages = Outages(
            self.upstream.probe,
            lambda: self.time.now - 1000.0 - self.excused(),
            self.excused,
            self.tell,
            clock=self.time.clock,
            sleep=self.time.sleep,
        )
        self.retries = Retries(
            self.upstream, self.outages, attempts, 60, self.time.clock, self.time.sleep, lambda: jitter
        )  # fmt: skip

    @property
    def ledger(self) -> Ledger:
        ledger = Ledger()
        for outage in self.told:
            ledger = ledger.after(outage)
        return ledger

    def excused(self) -> float:
        return self.ledger.stalled_s

    async def tell(self, outage: LlmOutage) -> None:
        self.told.append(outage)

    def send(self) -> Tried:
        tried = Tried()
        self.first = asyncio.run(self._send(tried))
        return tried

    async def _send(self, tried: Tried) -> bytes:
        return (await self.retries.send(CALL, tried)).first


def test_a_busy_upstream_is_asked_again_when_it_says_so() -> None:
    place = Place(failed("busy", 429, retry_after_s=7), failed("busy", 429, retry_after_s=3))
    tried = place.send()
    assert place.first == chat_reply()
    assert (tried.tries, tried.waited_s, place.time.slept) == (3, 10.0, [7, 3])
    assert not place.upstream.probed and not place.told


@pytest.mark.parametrize(("jitter", "waits"), [(0.0, [0.25, 0.5, 1.0]), (1.0, [0.5, 1.0, 2.0])])
def test_waits_double_with_jitter_where_it_says_nothing(jitter: float, waits: list[float]) -> None:
    place = Place(*[failed("busy", 429)] * 3, jitter=jitter)
    assert place.send().tries == 4
    assert place.time.slept == waits


def test_what_is_refused_is_never_tried_again() -> None:
    place = Place(failed("refused", 400))
    with pytest.raises(UpstreamFailed):
        place.send()
    assert len(place.upstream.calls) == 1


def test_tries_are_bounded() -> None:
    place = Place(*[failed("broken", 500)] * 9, attempts=3)
    with pytest.raises(UpstreamFailed):
        place.send()
    assert len(place.upstream.calls) == 3 and not place.told


def test_more_patience_than_is_usual_is_left_to_the_agent() -> None:
    place = Place(failed("busy", 429, retry_after_s=3600))
    with pytest.raises(UpstreamFailed):
        place.send()
    assert place.time.slept == []


def test_an_empty_answer_and_one_that_breaks_before_its_first_byte() -> None:
    place = Place([failed("broken")], [])
    assert place.send().tries == 2 and place.first == b""


def test_a_failure_of_one_request_is_no_outage_while_the_upstream_answers_a_probe() -> None:
    place = Place(failed("broken", 500))
    place.send()
    assert place.upstream.probed == 1 and not place.told


def test_a_probe_that_is_refused_or_told_to_wait_shows_that_the_upstream_is_there() -> None:
    place = Place(failed("broken", 500))
    place.upstream.probes = [failed("busy", 429)]
    place.send()
    assert not place.told


def test_an_outage_is_waited_out_told_in_pieces_and_takes_no_try() -> None:
    place = Place(*[failed("broken")] * 1, attempts=1)
    place.upstream.probes = [failed("broken", message="nobody there")] * 8
    tried = place.send()
    assert tried.tries == 2 and place.time.slept == [1, 2, 4, 8, 15, 15, 15, 15]
    assert tried.waited_s == 75
    assert len(place.told) > 1 and all(piece.seconds <= 45 for piece in place.told)
    assert sum(piece.seconds for piece in place.told) == 75 == place.ledger.stalled_s
    assert place.told[0].at_s == 0 and place.told[0].message == "nobody there"


def test_two_outages_are_both_counted_though_the_clock_stood_still_in_the_first() -> None:
    place = Place(failed("broken"), chat_reply(), failed("broken"))
    place.upstream.probes = [failed("broken"), failed("broken"), None]
    place.send()
    place.time.now += 10
    place.upstream.probes = [failed("broken"), failed("broken"), None]
    place.send()  # well
    place.send()
    assert place.ledger.stalled_s == 6


def test_calls_at_once_share_probe_and_outage() -> None:
    place = Place(*[failed("broken")] * 10)
    place.upstream.probes = [failed("broken"), failed("broken")]

    async def many() -> None:
        await asyncio.gather(*(place._send(Tried()) for _ in range(10)))

    asyncio.run(many())
    assert place.upstream.probed == 3 and place.ledger.stalled_s == 3
    assert len(place.upstream.calls) == 20


def test_good_news_of_a_probe_hold_for_a_while() -> None:
    place = Place(*[failed("broken", 500)] * 3)
    place.send()
    assert place.upstream.probed == 1


def test_an_outage_that_is_cut_by_the_end_of_the_run_is_told_as_far_as_it_went() -> None:
    place = Place(failed("broken"))
    place.upstream.probes = [failed("broken")] * 3

    async def cut() -> None:
        stop = asyncio.Event()

        async def sleep(seconds: float) -> None:
            if len(place.time.slept) == 1:
                stop.set()
                await asyncio.Event().wait()
            await Time.sleep(place.time, seconds)

        place.outages._sleep = sleep
        call = asyncio.ensure_future(place._send(Tried()))
        await stop.wait()
        call.cancel()
        place.time.now += 2
        await place.outages.close()
        await asyncio.gather(call, return_exceptions=True)

    asyncio.run(cut())
    assert place.ledger.stalled_s == 3


class Loaded(Place):
    """A place whose upstream fails probes while other calls of the run are there, ``calls`` of them for ``seconds``."""

    def __init__(self, seconds: float, *, connected: bool = True) -> None:
        super().__init__(failed("broken", 500))
        self.seconds, self.connected = seconds, connected
        self.down_alone = 0

        async def probe() -> None:
            self.upstream.probed += 1
            if self.working or self.down_alone > 0:
                self.down_alone -= not self.working
                wrong = failed("broken", 503)
                wrong.__cause__ = None if connected else ConnectionRefusedError()
                raise wrong

        self.outages._probe = probe
        self.working = False

    async def beside(self, tried: Tried) -> bytes:
        async def other() -> None:
            with self.outages.at_work():
                self.working = True
                until = self.time.now + self.seconds
                while self.time.now < until:
                    await asyncio.sleep(0)
                self.working = False

        async def passing() -> None:
            while True:
                self.time.now += 0.5
                await asyncio.sleep(0)

        tasks = [asyncio.ensure_future(other()), asyncio.ensure_future(passing())]
        await asyncio.sleep(0)
        try:
            return (await self.retries.send(CALL, tried)).first
        finally:
            for task in tasks:
                task.cancel()


def test_a_probe_that_fails_for_the_runs_own_load_is_no_outage() -> None:
    place = Loaded(20)
    assert asyncio.run(place.beside(Tried())) == chat_reply()
    assert place.upstream.probed == 2 and not place.told


def test_load_that_does_not_end_is_no_outage_either_and_takes_a_try() -> None:
    place = Loaded(3600)
    tried = Tried()
    assert asyncio.run(place.beside(tried)) == chat_reply()
    assert tried.tries == 2 and place.upstream.probed == 1 and not place.told


def test_an_upstream_that_is_down_when_asked_alone_is_down_from_then_on() -> None:
    place = Loaded(20)
    place.down_alone = 3
    assert asyncio.run(place.beside(Tried())) == chat_reply()
    assert place.told and place.told[0].at_s >= 20


def test_an_upstream_that_takes_no_connection_is_down_whoever_else_waits_for_it() -> None:
    place = Loaded(20, connected=False)
    asyncio.run(place.beside(Tried()))
    assert place.told and place.told[0].at_s < 20
