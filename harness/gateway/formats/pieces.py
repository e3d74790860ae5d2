"""Streams and whole answers are the same thing: a reply cut into pieces, pieces gathered into a reply."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

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


def pieces_of(reply: Reply) -> Iterator[Piece]:
    """Yield a whole answer as a stream."""
    calls = 0
    for part in reply.parts:
        match part:
            case Text():
                yield TextPiece(part.text)
            case Thinking():
                yield ThinkingPiece(part.text, part.signature, part.hidden)
            case ToolCall():
                yield ToolStart(calls, part.id, part.name, part.signature)
                yield ToolPiece(calls, part.arguments)
                calls += 1
    yield Finish(reply.stop, reply.usage, reply.model, reply.id)


class Gathering:
    """Puts pieces together again."""

    def __init__(self) -> None:
        self._parts: list[Text | Thinking | int] = []
        self._calls: dict[int, tuple[ToolStart, list[str]]] = {}
        self._text: list[str] = []
        self._finish: Finish | None = None

    def add(self, pieces: Iterable[Piece]) -> None:
        """Take in more pieces."""
        for piece in pieces:
            match piece:
                case TextPiece():
                    self._text.append(piece.text)
                case ThinkingPiece():
                    self._close_text()
                    last = self._parts[-1] if self._parts else None
                    if isinstance(last, Thinking) and not last.signature and not piece.hidden:
                        self._parts[-1] = Thinking(last.text + piece.text, piece.signature)
                    else:
                        self._parts.append(Thinking(piece.text, piece.signature, piece.hidden))
                case ToolStart():
                    self._close_text()
                    self._calls[piece.index] = (piece, [])
                    self._parts.append(piece.index)
                case ToolPiece():
                    if piece.index in self._calls:
                        self._calls[piece.index][1].append(piece.arguments)
                case Finish():
                    self._finish = piece

    def _close_text(self) -> None:
        if self._text:
            self._parts.append(Text("".join(self._text)))
            self._text.clear()

    def _part(self, part: Text | Thinking | int) -> Text | Thinking | ToolCall:
        if not isinstance(part, int):
            return part
        start, arguments = self._calls[part]
        return ToolCall(start.id, start.name, "".join(arguments), start.signature)

    def reply(self) -> Reply:
        """Return the answer as far as it is there; without a `Finish` its usage is unknown."""
        self._close_text()
        finish = self._finish or Finish("end", TokenUsage())
        return Reply(tuple(self._part(part) for part in self._parts), finish.stop, finish.usage, finish.model, finish.id)


def gathered(pieces: Iterable[Piece]) -> Reply:
    """Return the answer that a stream makes."""
    gathering = Gathering()
    gathering.add(pieces)
    return gathering.reply()


class PieceReader(Protocol):
    """A decoder that can also be asked how far it came."""

    def feed(self, data: bytes) -> list[Piece]:
        """Return what these bytes complete."""
        ...

    def so_far(self) -> Finish:
        """Return the end as it is known now."""
        ...

    def end(self) -> list[Piece]:
        """Return the `Finish`."""
        ...


class StreamMeter:
    """Watches a stream. One that breaks off or cannot be read is known as far as it went."""

    def __init__(self, reader: PieceReader) -> None:
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
