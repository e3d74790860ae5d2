"""One answer for all who ask at once, and never one from before they asked."""

import asyncio
import threading

import pytest

pytest.importorskip("fastapi", reason="pip install 'dojo-bench[service]'")

from harness.web.together import Together


class Work:
    """Counts how often it is done, and waits for leave at the first time."""

    def __init__(self) -> None:
        self.begun, self.leave = 0, threading.Event()

    def __call__(self) -> int:
        self.begun += 1
        mine = self.begun
        assert mine > 1 or self.leave.wait(10)
        return mine


async def _until(true: object) -> None:
    while not true():  # type: ignore[operator]
        await asyncio.sleep(0.001)


def test_who_comes_while_an_answer_is_worked_out_shares_the_next_one() -> None:
    async def ask() -> list[int]:
        together, work = Together[int](), Work()
        first = asyncio.create_task(together.answer("status", work))
        await _until(lambda: work.begun)
        others = [asyncio.create_task(together.answer("status", work)) for _ in range(50)]
        await asyncio.sleep(0.01)
        work.leave.set()
        return await asyncio.gather(first, *others)

    assert asyncio.run(ask()) == [1] + [2] * 50


def test_another_question_does_not_wait() -> None:
    async def ask() -> str:
        together, work = Together[object](), Work()
        first = asyncio.create_task(together.answer("status", work))
        await _until(lambda: work.begun)
        said = await together.answer("leaderboard", lambda: "now")
        work.leave.set()
        await first
        return str(said)

    assert asyncio.run(ask()) == "now"


def test_an_error_is_everybodys_and_the_next_asks_anew() -> None:
    def fails() -> int:
        raise ValueError("no")

    async def ask() -> list[object]:
        together = Together[int]()
        found = await asyncio.gather(*(together.answer("status", fails) for _ in range(3)), return_exceptions=True)
        return [*map(str, found), await together.answer("status", lambda: 7)]

    assert asyncio.run(ask()) == ["no", "no", "no", 7]


def test_one_who_goes_away_leaves_the_answer_to_the_others() -> None:
    async def ask() -> int:
        together, work = Together[int](), Work()
        gone, stays = (asyncio.create_task(together.answer("status", work)) for _ in range(2))
        await _until(lambda: work.begun)
        gone.cancel()
        work.leave.set()
        return await stays

    assert asyncio.run(ask()) == 1
