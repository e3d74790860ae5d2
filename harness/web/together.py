"""One answer for all who ask the same thing at once: a batch that a lab looks at is read once, not once for each who looks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool

T = TypeVar("T")


class Together(Generic[T]):
    """Answers of one replica. Of one question one is worked out at a time, and who comes meanwhile shares the next.

    So nobody gets an answer that was begun before they asked: who changed something sees it.
    """

    def __init__(self) -> None:
        self._next: dict[Hashable, asyncio.Task[T]] = {}
        self._now: dict[Hashable, asyncio.Task[T]] = {}

    async def answer(self, question: Hashable, make: Callable[[], T]) -> T:
        """Return what ``make`` returns, in a thread, or raise what it raises.

        Args:
            question: the same for all who may share an answer, so with whatever it depends on: also who asks, where that matters.
            make: works it out.
        """
        task = self._next.get(question)
        if task is None:
            task = self._next[question] = asyncio.create_task(self._work(question, make, self._now.get(question)))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # heard also where all have gone
        return await asyncio.shield(task)  # one who goes away leaves it to the others

    async def _work(self, question: Hashable, make: Callable[[], T], before: asyncio.Task[T] | None) -> T:
        if before is not None:
            await asyncio.wait([before])
        self._now[question] = self._next.pop(question)
        try:
            return await run_in_threadpool(make)
        finally:
            del self._now[question]
