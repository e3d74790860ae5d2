"""Streams of OpenAI's chat completions."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any
from uuid import uuid4

from harness.gateway.dialogue import (
    Ask,
    Failure,
    Finish,
    Malformed,
    Piece,
    Stop,
    TextPiece,
    ThinkingPiece,
    TokenUsage,
    ToolPiece,
    ToolStart,
)
from harness.gateway.formats.chat.reply import REASONS, STOPS, rendered_usage, usage_of
from harness.gateway.formats.errors import openai_error
from harness.gateway.formats.fields import Field
from harness.gateway.formats.freetext import FreeTextStream
from harness.gateway.formats.reading import StreamReader
from harness.gateway.formats.sse import COMMENT, Event, EventReader, written


class ChatDecoder(StreamReader):
    """Reads a stream."""

    def __init__(self) -> None:
        super().__init__()
        self._stop: Stop | None = None
        self._usage = TokenUsage()
        self._model, self._id = "", ""
        self._indices: dict[int, tuple[int, str]] = {}
        self._calls = 0

    def _read(self, event: Event) -> list[Piece]:
        if event.data.strip() == "[DONE]":
            return []
        chunk = Field(json.loads(event.data))
        if error := chunk["error"]:
            raise Malformed(error["message"].text("") if isinstance(error.value, dict) else str(error.value))
        self._model = chunk["model"].text("") or self._model
        self._id = chunk["id"].text("") or self._id
        if chunk["usage"]:
            self._usage = usage_of(chunk["usage"])
        pieces: list[Piece] = []
        for choice in chunk["choices"].each() if chunk["choices"] else ():
            if choice["index"].integer():
                continue
            pieces += self._choice(choice["delta"]) if choice["delta"] else []
            if choice["finish_reason"]:
                self._stop = STOPS.get(choice["finish_reason"].text(), "end")
        return pieces

    def _choice(self, delta: Field) -> list[Piece]:
        pieces: list[Piece] = []
        if thought := delta["reasoning_content"] or delta["reasoning"]:
            pieces.append(ThinkingPiece(thought.text()))
        pieces += [TextPiece(delta[name].text()) for name in ("content", "refusal") if delta[name]]
        for call in delta["tool_calls"].each() if delta["tool_calls"] else ():
            kind, given = ("custom", "input") if call["custom"] else ("function", "arguments")
            index, identity = call["index"].integer() or 0, call["id"].text("")
            name = call[kind]["name"].text("") if call[kind] else ""
            # some servers give every parallel call the index 0 and tell them apart by id
            if index not in self._indices or (name and identity and identity != self._indices[index][1]):
                self._indices[index] = self._calls, identity
                pieces.append(ToolStart(self._calls, identity or f"call_{uuid4().hex[:24]}", name))
                self._calls += 1
            if call[kind] and call[kind][given]:
                pieces.append(ToolPiece(self._indices[index][0], call[kind][given].text()))
        return pieces

    def so_far(self) -> Finish:
        """Return the end as it is known now: before the model's last word its count of tokens is one on the way."""
        usage = self._usage if self._stop else replace(self._usage, output=None, reasoning=None)
        stop: Stop = self._stop or "end"
        return Finish("tools" if stop == "end" and self._calls and self._stop else stop, usage, self._model, self._id)


class ChatEncoder:
    """Writes a stream."""

    def __init__(self, ask: Ask) -> None:
        self._ask, self._free = ask, FreeTextStream(ask)
        self._names: dict[int, str] = {}
        self._head = {
            "id": f"chatcmpl-{uuid4().hex}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": ask.model,
        }

    def start(self) -> bytes:
        """Return the role."""
        return self._chunk({"role": "assistant", "content": ""})

    def feed(self, piece: Piece) -> bytes:
        """Return one piece as chunks."""
        return b"".join(map(self._write, self._free.feed(piece)))

    def _write(self, piece: Piece) -> bytes:
        match piece:
            case TextPiece():
                return self._chunk({"content": piece.text})
            case ThinkingPiece():
                return self._chunk({"reasoning_content": piece.text}) if piece.text else b""
            case ToolStart():
                self._names[piece.index] = piece.name
                kind, given = self._kind(piece.index)
                call = {"index": piece.index, "id": piece.id, "type": kind, kind: {"name": piece.name, given: ""}}
                return self._chunk({"tool_calls": [call]})
            case ToolPiece():
                kind, given = self._kind(piece.index)
                return self._chunk({"tool_calls": [{"index": piece.index, kind: {given: piece.arguments}}]})
            case Finish():
                end = self._chunk({}, REASONS[piece.stop])
                usage = rendered_usage(piece.usage) if self._ask.stream_usage else None
                told = written(self._head | {"choices": [], "usage": usage}) if usage else b""
                return end + told + written("[DONE]")

    def _kind(self, index: int) -> tuple[str, str]:
        free = self._names.get(index) in self._ask.free_text
        return ("custom", "input") if free else ("function", "arguments")

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return written(self._head | {"choices": [choice]})

    def failure(self, failure: Failure) -> bytes:
        """Return an error in the middle of the stream."""
        return written(openai_error(failure)[1])

    def keep_alive(self) -> bytes:
        """Return a comment."""
        return COMMENT


class UsageHidden:
    """Takes out of a stream that passes through the chunk of usage that only the gateway asked for."""

    def __init__(self) -> None:
        self._reader = EventReader()

    def feed(self, data: bytes) -> bytes:
        """Return what the client may see of these bytes; an event is held back until it is whole."""
        return b"".join(event.raw for event in self._reader.feed(data) if not _tells_usage_only(event))

    def end(self) -> bytes:
        """Return what is left."""
        event = self._reader.end()
        return b"" if event is None or _tells_usage_only(event) else event.raw


def _tells_usage_only(event: Event) -> bool:
    if '"usage"' not in event.data:
        return False
    try:
        chunk = json.loads(event.data)
    except ValueError:
        return False
    return isinstance(chunk, dict) and not chunk.get("choices") and bool(chunk.get("usage"))
