"""Streams of Anthropic's messages API."""

from __future__ import annotations

import json
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
from harness.gateway.formats.errors import anthropic_error
from harness.gateway.formats.fields import Field, json_text
from harness.gateway.formats.messages.reply import REASONS, STOPS, new_tool_id, rendered_usage, usage_of
from harness.gateway.formats.reading import StreamReader
from harness.gateway.formats.sse import Event, written


class MessagesDecoder(StreamReader):
    """Reads a stream."""

    def __init__(self) -> None:
        super().__init__()
        self._stop: Stop | None = None
        self._usage = TokenUsage()
        self._model, self._id = "", ""
        self._tools: dict[int, tuple[int, str]] = {}
        """Of each open block that calls a tool: the call's index, and its arguments where no pieces of them came."""
        self._calls = 0

    def _read(self, event: Event) -> list[Piece]:
        said = Field(json.loads(event.data))
        match said["type"].text(event.name):
            case "message_start":
                message = said["message"]
                self._model, self._id = message["model"].text(""), message["id"].text("")
                # what a server does not know yet it calls 0; its first count of output is one on the way
                start = usage_of(message["usage"])
                self._usage = replace(start, input=start.input or None, output=None, reasoning=None)
            case "content_block_start":
                return self._opened(said["index"].integer() or 0, said["content_block"])
            case "content_block_delta":
                return self._delta(said["index"].integer() or 0, said["delta"])
            case "content_block_stop":
                call, arguments = self._tools.pop(said["index"].integer() or 0, (0, ""))
                return [ToolPiece(call, arguments)] if arguments else []
            case "message_delta":
                if said["delta"]["stop_reason"]:
                    self._stop = STOPS.get(said["delta"]["stop_reason"].text(), "end")
                self._usage = _newer(self._usage, said["usage"])
            case "error":
                raise Malformed(said["error"]["message"].text("") if said["error"] else event.data)
        return []

    def _opened(self, index: int, block: Field) -> list[Piece]:
        match block["type"].text():
            case "text" if block["text"]:
                return [TextPiece(block["text"].text())]
            case "thinking" if block["thinking"] or block["signature"]:
                return [ThinkingPiece(block["thinking"].text(""), block["signature"].text(""))]
            case "redacted_thinking":
                return [ThinkingPiece("", block["data"].text(), hidden=True)]
            case "tool_use":
                self._tools[index] = self._calls, json_text(block["input"].value or {})
                self._calls += 1
                return [ToolStart(self._calls - 1, block["id"].text("") or new_tool_id(), block["name"].text())]
        return []

    def _delta(self, index: int, delta: Field) -> list[Piece]:
        match delta["type"].text():
            case "text_delta":
                return [TextPiece(delta["text"].text())]
            case "thinking_delta":
                return [ThinkingPiece(delta["thinking"].text())]
            case "signature_delta":
                return [ThinkingPiece("", delta["signature"].text())]
            case "input_json_delta" if index in self._tools and delta["partial_json"]:
                self._tools[index] = self._tools[index][0], ""
                return [ToolPiece(self._tools[index][0], delta["partial_json"].text())]
        return []

    def so_far(self) -> Finish:
        """Return the end as it is known now."""
        return Finish(self._stop or "end", self._usage, self._model, self._id)


def _newer(usage: TokenUsage, told: Field) -> TokenUsage:
    """Counts of a later event are of the whole answer; those it leaves out stay."""
    new = usage_of(told)
    if new.input is not None and new.cached is None and new.cache_write is None:
        # it tells the fresh ones alone: the cached ones of the start belong to them
        new = replace(new, input=new.input + (usage.cached or 0) + (usage.cache_write or 0))
    return TokenUsage(
        input=new.input or usage.input,
        output=new.output,
        cached=usage.cached if new.cached is None else new.cached,
        cache_write=usage.cache_write if new.cache_write is None else new.cache_write,
        reasoning=new.reasoning,
    )


class MessagesEncoder:
    """Writes a stream: one block after another, each opened and closed."""

    def __init__(self, ask: Ask) -> None:
        self._ask, self._index = ask, -1
        self._open: str | None = None

    def start(self) -> bytes:
        """Return the empty message. Its usage is told at the end; until then clients are used to numbers."""
        message: dict[str, Any] = {
            "id": f"msg_{uuid4().hex[:24]}",
            "type": "message",
            "role": "assistant",
            "model": self._ask.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }
        return _event("message_start", message=message)

    def feed(self, piece: Piece) -> bytes:
        """Return one piece as events."""
        match piece:
            case TextPiece():
                return self._opened("text", {"text": ""}) + self._delta("text_delta", text=piece.text)
            case ThinkingPiece(hidden=True):
                return self._closed() + self._opened("redacted_thinking", {"data": piece.signature}) + self._closed()
            case ThinkingPiece():
                out = self._opened("thinking", {"thinking": "", "signature": ""})
                if piece.text:
                    out += self._delta("thinking_delta", thinking=piece.text)
                if piece.signature:
                    out += self._delta("signature_delta", signature=piece.signature) + self._closed()
                return out
            case ToolStart():
                out = self._closed()
                out += self._opened("tool_use", {"id": piece.id, "name": piece.name, "input": {}})
                self._open = f"tool {piece.index}"
                return out
            case ToolPiece():
                if self._open != f"tool {piece.index}":
                    raise Malformed(f"the upstream goes on with tool call {piece.index}, which is over")
                return self._delta("input_json_delta", partial_json=piece.arguments)
            case Finish():
                delta = {"stop_reason": REASONS[piece.stop], "stop_sequence": None}
                end = _event("message_delta", delta=delta, usage=rendered_usage(piece.usage))
                return self._closed() + end + _event("message_stop")

    def _opened(self, kind: str, fields: dict[str, Any]) -> bytes:
        if self._open == kind:
            return b""
        out = self._closed()
        self._index, self._open = self._index + 1, kind
        return out + _event("content_block_start", index=self._index, content_block={"type": kind} | fields)

    def _closed(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        return _event("content_block_stop", index=self._index)

    def _delta(self, kind: str, **fields: Any) -> bytes:
        return _event("content_block_delta", index=self._index, delta={"type": kind} | fields)

    def failure(self, failure: Failure) -> bytes:
        """Return an error in the middle of the stream."""
        return written(anthropic_error(failure)[1], "error")

    def keep_alive(self) -> bytes:
        """Return a ping."""
        return _event("ping")


def _event(kind: str, **fields: Any) -> bytes:
    return written({"type": kind} | fields, kind)
