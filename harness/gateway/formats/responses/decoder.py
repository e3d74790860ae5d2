"""Reading streams of OpenAI's responses API."""

from __future__ import annotations

import json
from uuid import uuid4

from harness.gateway.dialogue import Finish, Malformed, Piece, Stop, TextPiece, ThinkingPiece, TokenUsage, ToolPiece, ToolStart
from harness.gateway.formats.fields import Field
from harness.gateway.formats.pieces import pieces_of
from harness.gateway.formats.reading import StreamReader
from harness.gateway.formats.responses.reply import ending, parse_reply, thinking_of, usage_of
from harness.gateway.formats.sse import Event


class ResponsesDecoder(StreamReader):
    """Reads a stream."""

    def __init__(self) -> None:
        super().__init__()
        self._stop: Stop = "end"
        self._usage = TokenUsage()
        self._model, self._id = "", ""
        self._calls: dict[int, int] = {}
        """Of each item of output that calls a tool: the call's index."""
        self._filled: set[int] = set()
        """Items of output of which pieces came."""
        self._any = False

    def _read(self, event: Event) -> list[Piece]:
        if event.data.strip() == "[DONE]":
            return []
        said = Field(json.loads(event.data))
        pieces = self._said(said["type"].text(event.name), said)
        self._any = self._any or bool(pieces)
        return pieces

    def _said(self, kind: str, said: Field) -> list[Piece]:
        at = said["output_index"].integer() or 0
        match kind:
            case "response.created" | "response.in_progress":
                self._named(said["response"])
            case "response.output_item.added":
                return self._added(at, said["item"])
            case "response.output_text.delta" | "response.refusal.delta":
                self._filled.add(at)
                return [TextPiece(said["delta"].text())]
            case "response.reasoning_summary_part.added" if said["summary_index"].integer() and at in self._filled:
                return [ThinkingPiece("\n\n")]
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                self._filled.add(at)
                return [ThinkingPiece(said["delta"].text())]
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" if at in self._calls:
                self._filled.add(at)
                return [ToolPiece(self._calls[at], said["delta"].text())]
            case "response.output_item.done":
                return self._done(at, said["item"])
            case "response.completed" | "response.incomplete":
                return self._ended(said["response"])
            case "response.failed":
                error = said["response"]["error"]
                raise Malformed(error["message"].text("") if error else "the response failed without a reason")
            case "error":
                message = said["error"]["message"] if said["error"] else said["message"]
                raise Malformed(message.text("an error without a message"))
        return []

    def _named(self, response: Field) -> None:
        self._model = response["model"].text("") or self._model
        self._id = response["id"].text("") or self._id

    def _added(self, at: int, item: Field) -> list[Piece]:
        if item["type"].text() not in ("function_call", "custom_tool_call"):
            return []
        self._calls[at] = len(self._calls)
        return [ToolStart(self._calls[at], item["call_id"].text("") or f"call_{uuid4().hex[:24]}", item["name"].text())]

    def _done(self, at: int, item: Field) -> list[Piece]:
        """What came in no pieces comes with the whole item."""
        match item["type"].text():
            case "function_call" | "custom_tool_call" as kind:
                pieces = [] if at in self._calls else self._added(at, item)
                arguments = item["arguments" if kind == "function_call" else "input"].text("")
                return pieces if at in self._filled or not arguments else [*pieces, ToolPiece(self._calls[at], arguments)]
            case "reasoning":
                thinking = thinking_of(item)
                text = "" if at in self._filled else thinking.text
                return [ThinkingPiece(text, thinking.signature)] if text or thinking.signature else []
        return []

    def _ended(self, response: Field) -> list[Piece]:
        self._named(response)
        self._usage = usage_of(response["usage"])
        self._stop = ending(response)
        if self._any or not response["output"]:
            return []
        # some servers send the whole answer only
        reply = parse_reply(response.mapping())
        pieces: list[Piece] = [piece for piece in pieces_of(reply) if not isinstance(piece, Finish)]
        self._calls |= {-1 - piece.index: piece.index for piece in pieces if isinstance(piece, ToolStart)}
        return pieces

    def so_far(self) -> Finish:
        """Return the end as it is known now."""
        stop: Stop = "tools" if self._stop == "end" and self._calls else self._stop
        return Finish(stop, self._usage, self._model, self._id)
