"""Turns between clients, by a clock that the test moves."""

import asyncio
from typing import Any

import pytest

from harness.gateway.shared.turns import NoTurn, Turns
from harness.spec.backbone import SharedLimits


class Played:
    """Turns whose calls begin in the order of `began`, and end when they are told."""

    def __init__(self, **limits: Any) -> None:
        self.now = 1000.0
        self.turns = Turns(SharedLimits(**limits), lambda: self.now)
        self.began: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def call(self, client: str, name: str) -> None:
        self.ends[name] = asyncio.Event()

        async def work() -> None:
            async with self.turns.turn(client):
                self.began.append(name)
                await self.ends[name].wait()

        self.tasks[name] = asyncio.create_task(work())
        await _settle()

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self.tasks[name]
        await _settle()


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_client_with_one_call_comes_before_the_third_of_one_with_many() -> None:
    async def play() -> None:
        played = Played(concurrency=1)
        for name in ("a1", "a2", "a3", "a4"):
            await played.call("a", name)
        for client in ("b", "c"):
            await played.call(client, f"{client}1")
        assert (played.began, played.turns.waiting) == (["a1"], 5)
        for name in ("a1", "a2", "b1", "c1", "a3", "a4"):
            await played.end(name)
        assert played.began == ["a1", "a2", "b1", "c1", "a3", "a4"]

    asyncio.run(play())


def test_no_minute_sees_more_than_its_number_of_calls() -> None:
    async def play() -> None:
        played = Played(requests_per_minute=2)
        for name in ("1", "2", "3", "4"):
            await played.call("a", name)
            played.now += 1
        assert played.began == ["1", "2"]
        played.now = 1060.0
        await played.end("1")
        assert played.began == ["1", "2", "3"]  # the second began a second after the first
        played.now = 1061.0
        await played.end("2")
        assert played.began == ["1", "2", "3", "4"]
        await played.end("3")
        await played.end("4")

    asyncio.run(play())


def test_a_turn_comes_by_itself_when_the_provider_has_been_left_alone_long_enough() -> None:
    async def play() -> None:
        played = Played()
        played.turns.hold(0.01)
        await played.call("a", "1")
        assert played.began == [] and played.turns.waiting == 1
        played.now += 0.02
        played.ends["1"].set()
        await played.tasks["1"]
        assert played.began == ["1"] and played.turns.waiting == 0

    asyncio.run(play())


def test_who_leaves_at_the_moment_of_his_turn_gives_it_back() -> None:
    async def play() -> None:
        played = Played(concurrency=1)
        for name in ("1", "2", "3"):
            await played.call(name, name)
        played.ends["1"].set()
        await asyncio.sleep(0)  # the first ends, and the second's turn is on its way to it
        played.tasks["2"].cancel()
        await _settle()
        assert played.tasks["2"].cancelled() and played.began == ["1", "3"]
        played.tasks["3"].cancel()
        await _settle()
        assert (played.turns.working, played.turns.waiting) == (0, 0)

    asyncio.run(play())


def test_who_waits_when_it_closes_and_who_comes_later_are_told() -> None:
    async def play() -> None:
        played = Played(concurrency=1)
        await played.call("a", "1")
        await played.call("b", "2")
        played.turns.close()
        with pytest.raises(NoTurn) as told:
            await played.tasks["2"]
        assert told.value.closing
        await played.call("c", "3")
        with pytest.raises(NoTurn):
            await played.tasks["3"]
        await played.end("1")
        assert (played.turns.working, played.turns.waiting) == (0, 0)

    asyncio.run(play())
