"""Writing streams of OpenAI's responses API."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

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
from harness.gateway.formats.errors import openai_error
from harness.gateway.formats.freetext import FreeTextStream
from harness.gateway.formats.responses.reply import item_of, new_id, response
from harness.gateway.formats.sse import COMMENT, written


class ResponsesEncoder:
    """Writes a stream: each item of output is added, filled, told whole, and told again in the response at the end."""

    def __init__(self, ask: Ask) -> None:
        self._ask, self._free = ask, FreeTextStream(ask)
        self._number = 0
        self._id, self._created = new_id("resp"), int(time.time())
        self._output: list[dict[str, Any]] = []
        self._open: Text | Thinking | ToolCall | None = None
        self._filling: list[str] = []
        self._tool, self._item = -1, ""

    def start(self) -> bytes:
        """Return the response that has begun."""
        begun = self._response(None, TokenUsage())
        return self._event("response.created", response=begun) + self._event("response.in_progress", response=begun)

    def feed(self, piece: Piece) -> bytes:
        """Return one piece as events."""
        return b"".join(map(self._write, self._free.feed(piece)))

    def _write(self, piece: Piece) -> bytes:
        match piece:
            case TextPiece():
                out = b"" if isinstance(self._open, Text) else self._added(Text(""))
                self._filling.append(piece.text)
                return out + self._delta("response.output_text.delta", piece.text, content_index=0, logprobs=[])
            case ThinkingPiece(hidden=True):
                return b""  # another provider's seal without a text says nothing here
            case ThinkingPiece():
                return self._thought(piece)
            case ToolStart():
                out = self._added(ToolCall(piece.id, piece.name, ""))
                self._tool = piece.index
                return out
            case ToolPiece():
                if not isinstance(self._open, ToolCall) or self._tool != piece.index:
                    raise Malformed(f"the upstream goes on with tool call {piece.index}, which is over")
                self._filling.append(piece.arguments)
                return self._delta(f"response.{self._kind}.delta", piece.arguments)
            case Finish():
                whole = self._closed()
                kind = "response.incomplete" if piece.stop in ("length", "refusal") else "response.completed"
                return whole + self._event(kind, response=self._response(piece.stop, piece.usage))

    def _thought(self, piece: ThinkingPiece) -> bytes:
        out = b"" if isinstance(self._open, Thinking) else self._added(Thinking(""))
        if piece.text:
            if not self._filling:
                part = {"type": "summary_text", "text": ""}
                out += self._filled("response.reasoning_summary_part.added", summary_index=0, part=part)
            out += self._delta("response.reasoning_summary_text.delta", piece.text, summary_index=0)
            self._filling.append(piece.text)
        self._open = Thinking("", piece.signature)
        return out + (self._closed() if piece.signature else b"")

    @property
    def _kind(self) -> str:
        custom = isinstance(self._open, ToolCall) and item_of(self._open, self._ask)["type"] == "custom_tool_call"
        return "custom_tool_call_input" if custom else "function_call_arguments"

    def _added(self, part: Text | Thinking | ToolCall) -> bytes:
        out = self._closed()
        item = item_of(part, self._ask)
        self._open, self._item = part, item["id"]
        match part:
            case Text():
                empty = item["content"][0]
                item |= {"status": "in_progress", "content": []}
                out += self._filled_item("response.output_item.added", item)
                return out + self._filled("response.content_part.added", content_index=0, part=empty)
            case ToolCall():
                item |= {"status": "in_progress"} | {name: "" for name in ("arguments", "input") if name in item}
        return out + self._filled_item("response.output_item.added", item)

    def _closed(self) -> bytes:
        if self._open is None:
            return b""
        whole = _filled(self._open, "".join(self._filling))
        self._filling.clear()
        item, out = item_of(whole, self._ask, self._item), b""
        match whole:
            case Text(text):
                out += self._filled("response.output_text.done", content_index=0, text=text, logprobs=[])
                out += self._filled("response.content_part.done", content_index=0, part=item["content"][0])
            case Thinking(text) if text:
                out += self._filled("response.reasoning_summary_text.done", summary_index=0, text=text)
                part = {"type": "summary_text", "text": text}
                out += self._filled("response.reasoning_summary_part.done", summary_index=0, part=part)
            case ToolCall():
                given = "input" if item["type"] == "custom_tool_call" else "arguments"
                out += self._filled(f"response.{self._kind}.done", **{given: item[given], "name": item["name"]})
        out += self._filled_item("response.output_item.done", item)
        self._output.append(item)
        self._open = None
        return out

    def _delta(self, kind: str, delta: str, **fields: Any) -> bytes:
        return self._filled(kind, delta=delta, **fields)

    def _filled(self, kind: str, **fields: Any) -> bytes:
        return self._event(kind, item_id=self._item, output_index=len(self._output), **fields)

    def _filled_item(self, kind: str, item: dict[str, Any]) -> bytes:
        return self._event(kind, output_index=len(self._output), item=item)

    def _response(self, stop: Stop | None, usage: TokenUsage) -> dict[str, Any]:
        return response(self._id, self._created, self._ask.model, list(self._output), stop, usage)

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = {"type": kind, "sequence_number": self._number} | fields
        self._number += 1
        return written(event, kind)

    def failure(self, failure: Failure) -> bytes:
        """Return an error in the middle of the stream: the response that failed, and the error that clients of events raise."""
        error = openai_error(failure)[1]["error"]
        failed = self._response(None, TokenUsage()) | {"status": "failed"}
        failed["error"] = {"code": error["code"], "message": error["message"]}
        return self._event("response.failed", response=failed) + self._event("error", error=error)

    def keep_alive(self) -> bytes:
        """Return a comment."""
        return COMMENT


def _filled(part: Text | Thinking | ToolCall, text: str) -> Text | Thinking | ToolCall:
    return replace(part, arguments=text) if isinstance(part, ToolCall) else replace(part, text=text)
