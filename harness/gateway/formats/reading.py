"""What all readers of streams share: events cut from bytes, errors kept until the end."""

from __future__ import annotations

from abc import ABC, abstractmethod

from harness.gateway.dialogue import Finish, Malformed, Piece
from harness.gateway.formats.sse import Event, EventReader


class StreamReader(ABC):
    """Reads a stream of events into pieces. What is wrong with it is told at its end, after all that was right."""

    def __init__(self) -> None:
        self._events = EventReader()
        self._wrong: str | None = None

    def feed(self, data: bytes) -> list[Piece]:
        """Return what these bytes complete."""
        return [piece for event in self._events.feed(data) for piece in self._pieces(event)]

    def _pieces(self, event: Event) -> list[Piece]:
        if self._wrong is not None or not event.data:
            return []
        try:
            return self._read(event)
        except Malformed as wrong:
            self._wrong = str(wrong)
        except (ValueError, RecursionError):
            self._wrong = f"the stream's event is no JSON: {event.data[:100]}"
        return []

    @abstractmethod
    def _read(self, event: Event) -> list[Piece]:
        """Return what one event says."""

    @abstractmethod
    def so_far(self) -> Finish:
        """Return the end as it is known now."""

    def end(self) -> list[Piece]:
        """Return the last event's pieces and the `Finish`.

        Raises:
            Malformed: the stream carried an error or broke off within an event.
        """
        last: list[Piece] = []
        if event := self._events.end():
            last = self._pieces(event)
        if self._wrong is not None:
            raise Malformed(self._wrong)
        return [*last, self.so_far()]
