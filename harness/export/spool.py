"""Steps on their way into a trajectory: kept on disk, so that a run of twelve hours costs its teller no memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from types import TracebackType
from typing import IO, Any

from harness.export.steps import Draft

# Bytes of all steps together. What comes after is left out and counted; `events.jsonl` and the recording hold it.
SIZE_LIMIT = 256 << 20
# And so many steps: where each lies is held in memory.
STEPS_LIMIT = 100_000


class Spool:
    """Takes steps of several conversations in any order and gives each conversation's back in the order of time."""

    def __init__(self, file: IO[bytes], limit: int = SIZE_LIMIT) -> None:
        self._file, self._limit = file, limit
        self._index: dict[str, list[tuple[datetime, int, int]]] = {}
        self._end = self._steps = 0
        self.left_out = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def put(self, talk: str, draft: Draft) -> None:
        """Take a step of the conversation ``talk``."""
        data = json.dumps(draft.as_dict(), ensure_ascii=False).encode(errors="replace")
        if self._end + len(data) > self._limit or self._steps >= STEPS_LIMIT:
            self.left_out += 1
            return
        self._file.seek(self._end)
        self._file.write(data)
        self._index.setdefault(talk, []).append((draft.time, self._end, len(data)))
        self._end += len(data)
        self._steps += 1

    def count(self, talk: str) -> int:
        """Return how many steps a conversation has."""
        return len(self._index.get(talk, ()))

    def steps(self, *talks: str) -> Iterator[dict[str, Any]]:
        """Yield the steps of some conversations together, numbered from 1. Of steps at one time the first taken comes first."""
        places = sorted(place for talk in talks for place in self._index.get(talk, ()))
        for number, (_time, start, length) in enumerate(places, start=1):
            self._file.seek(start)
            yield {"step_id": number, **json.loads(self._file.read(length))}
