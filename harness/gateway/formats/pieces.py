"""Streams and whole answers are the same thing: a reply cut into pieces, pieces gathered into a reply."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.gateway.dialogue import (
    Finish,
    Malformed,
    Piece,
    Reply,
    Stop,
    Text,
    TextPiece,
    Thinking,
    ThinkingPiece,
    TokenUsage,
    ToolCall,
    ToolPiece,
    ToolStart,
)
from harness.gateway.formats.base import Decoder


def pieces_of(reply: Reply, cut: Callable[[str], Iterable[str]] = lambda text: (text,)) -> Iterator[Piece]:
    """Yield a whole answer as a stream; ``cut`` cuts its texts and arguments into pieces."""
    calls = 0
    for part in reply.parts:
        match part:
            case Text():
                yield from (TextPiece(piece) for piece in cut(part.text))
            case Thinking():
                yield ThinkingPiece(part.text, part.signature, part.hidden)
            case ToolCall():
                yield ToolStart(calls, part.id, part.name, part.signature)
                yield from (ToolPiece(calls, piece) for piece in cut(part.arguments))
                calls += 1
    yield Finish(reply.stop, reply.usage, reply.model, reply.id)


class Gathering:
    """Puts pieces together again."""

    def __init__(self) -> None:
        self._parts: list[_Growing] = []
        self._calls: dict[int, _Growing] = {}
        self._finish: Finish | None = None

    def add(self, pieces: Iterable[Piece]) -> None:
        """Take in more pieces."""
        for piece in pieces:
            match piece:
                case TextPiece():
                    self._last(TextPiece).text.append(piece.text)
                case ThinkingPiece(hidden=True):
                    self._parts.append(_Growing(piece))
                case ThinkingPiece():
                    thought = self._last(ThinkingPiece)
                    thought.text.append(piece.text)
                    thought.first = piece  # the last of them holds the seal
                case ToolStart():
                    self._calls[piece.index] = _Growing(piece)
                    self._parts.append(self._calls[piece.index])
                case ToolPiece():
                    if piece.index in self._calls:
                        self._calls[piece.index].text.append(piece.arguments)
                case Finish():
                    self._finish = piece

    def _last(self, kind: type[TextPiece] | type[ThinkingPiece]) -> _Growing:
        """Return the part that is being filled, or a new one: a seal closes a thought."""
        last = self._parts[-1].first if self._parts else None
        if not isinstance(last, kind) or (isinstance(last, ThinkingPiece) and last.signature):
            self._parts.append(_Growing(kind("")))
        return self._parts[-1]

    def reply(self) -> Reply:
        """Return the answer as far as it is there; without a `Finish` its usage is unknown."""
        finish = self._finish or Finish("end", TokenUsage())
        return Reply(tuple(part.whole() for part in self._parts), finish.stop, finish.usage, finish.model, finish.id)


@dataclass
class _Growing:
    first: TextPiece | ThinkingPiece | ToolStart
    text: list[str] = field(default_factory=list)

    def whole(self) -> Text | Thinking | ToolCall:
        text = "".join(self.text)
        match self.first:
            case TextPiece():
                return Text(text)
            case ThinkingPiece(_, signature, hidden):
                return Thinking(text, signature, hidden)
            case ToolStart(_, identity, name, signature):
                return ToolCall(identity, name, text, signature)


def gathered(pieces: Iterable[Piece]) -> Reply:
    """Return the answer that a stream makes."""
    gathering = Gathering()
    gathering.add(pieces)
    return gathering.reply()


class StreamMeter:
    """Watches a stream. One that breaks off or cannot be read is known as far as it went."""

    def __init__(self, reader: Decoder) -> None:
        self._reader, self._gathering = reader, Gathering()

    def feed(self, data: bytes) -> None:
        """Watch more bytes."""
        self._gathering.add(self._reader.feed(data))

    def reply(self) -> Reply:
        """Return the answer as far as it went by."""
        try:
            self._gathering.add(self._reader.end())
        except Malformed:
            self._gathering.add([self._reader.so_far()])
        return self._gathering.reply()


class WholeMeter:
    """Watches an answer that comes in one body."""

    def __init__(self, read: Callable[[Mapping[str, Any]], Reply]) -> None:
        self._body, self._read = bytearray(), read

    def feed(self, data: bytes) -> None:
        """Watch more bytes."""
        self._body += data

    def reply(self) -> Reply:
        """Return the answer; one that is cut or none at all says nothing about its usage."""
        try:
            return self._read(json.loads(self._body))
        except (ValueError, Malformed, RecursionError):
            return Reply(())


def stop_of(parts: Iterable[object], stop: Stop) -> Stop:
    """Return "tools" for an answer that ended by itself in calls of tools: not every server says so."""
    return "tools" if stop == "end" and any(isinstance(part, ToolCall) for part in parts) else stop
