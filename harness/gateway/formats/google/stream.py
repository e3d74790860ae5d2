"""Streams of Google's generateContent (``alt=sse``)."""

from __future__ import annotations

import json
from dataclasses import replace

from harness.gateway.dialogue import (
    Ask,
    Failure,
    Finish,
    Malformed,
    Piece,
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
from harness.gateway.formats.errors import google_error
from harness.gateway.formats.fields import Field
from harness.gateway.formats.google.reply import chunk, new_id, part_of, parts_of, stop_in, usage_of
from harness.gateway.formats.reading import StreamReader
from harness.gateway.formats.sse import Event, written


class GoogleDecoder(StreamReader):
    """Reads a stream: each event is an answer as far as it is new; counts of tokens are of the whole so far."""

    def __init__(self) -> None:
        super().__init__()
        self._stop: Stop | None = None
        self._usage = TokenUsage()
        self._model, self._id = "", ""
        self._calls = 0

    def _read(self, event: Event) -> list[Piece]:
        said = Field(json.loads(event.data))
        if said["error"]:
            raise Malformed(said["error"]["message"].text("an error without a message"))
        self._model = said["modelVersion"].text("") or self._model
        self._id = said["responseId"].text("") or self._id
        if said["usageMetadata"]:
            self._usage = usage_of(said["usageMetadata"])
        self._stop = stop_in(said) or self._stop
        return [piece for part in parts_of(said) for piece in self._pieces_of(part)]

    def _pieces_of(self, part: Text | Thinking | ToolCall) -> list[Piece]:
        match part:
            case Text():
                return [TextPiece(part.text)]
            case Thinking():
                return [ThinkingPiece(part.text, part.signature)]
            case ToolCall():
                self._calls += 1
                index = self._calls - 1
                return [ToolStart(index, part.id, part.name, part.signature), ToolPiece(index, part.arguments)]

    def so_far(self) -> Finish:
        """Return the end as it is known now: before the last word the count of output is one on the way."""
        usage = self._usage if self._stop else replace(self._usage, output=None, reasoning=None)
        stop: Stop = "tools" if self._stop == "end" and self._calls else self._stop or "end"
        return Finish(stop, usage, self._model, self._id)


class GoogleEncoder:
    """Writes a stream. Calls of tools are told whole: the format knows no other way."""

    def __init__(self, ask: Ask) -> None:
        self._model, self._id = ask.model, new_id()
        self._calls: dict[int, tuple[ToolStart, list[str]]] = {}

    def start(self) -> bytes:
        """Return nothing."""
        return b""

    def feed(self, piece: Piece) -> bytes:
        """Return one piece as a chunk."""
        match piece:
            case TextPiece():
                return self._called() + self._chunk(Text(piece.text))
            case ThinkingPiece(hidden=True):
                return b""  # another provider's seal without a text says nothing here
            case ThinkingPiece():
                return self._called() + self._chunk(Thinking(piece.text, piece.signature))
            case ToolStart():
                self._calls[piece.index] = piece, []
                return b""
            case ToolPiece():
                if piece.index not in self._calls:
                    raise Malformed(f"the upstream goes on with tool call {piece.index}, which is over")
                self._calls[piece.index][1].append(piece.arguments)
                return b""
            case Finish():
                return self._called() + written(chunk([], self._model, self._id, piece.stop, piece.usage))

    def _called(self) -> bytes:
        calls = (ToolCall(start.id, start.name, "".join(given), start.signature) for start, given in self._calls.values())
        out = b"".join(map(self._chunk, calls))
        self._calls.clear()
        return out

    def _chunk(self, part: Text | Thinking | ToolCall) -> bytes:
        return written(chunk([part_of(part)], self._model, self._id, None, None))

    def failure(self, failure: Failure) -> bytes:
        """Return an error in the middle of the stream."""
        return written(google_error(failure)[1])

    def keep_alive(self) -> bytes:
        """Return an empty chunk: Google's client takes a comment for a broken answer."""
        return written({"candidates": [], "modelVersion": self._model, "responseId": self._id})
