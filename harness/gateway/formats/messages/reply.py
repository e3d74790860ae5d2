"""Whole answers of Anthropic's messages API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from harness.gateway.dialogue import Ask, Reply, Stop, Text, Thinking, TokenUsage, ToolCall
from harness.gateway.formats.fields import Field, json_text, object_of

STOPS: Mapping[str, Stop] = {
    "end_turn": "end",
    "stop_sequence": "end",
    "pause_turn": "end",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tools",
    "refusal": "refusal",
}
REASONS: Mapping[Stop, str] = {"end": "end_turn", "length": "max_tokens", "tools": "tool_use", "refusal": "refusal"}


def parse_reply(body: Mapping[str, Any]) -> Reply:
    """Read a whole answer. Blocks of the provider's own tools are passed over: those are not granted."""
    answer = Field(body)
    parts: list[Text | Thinking | ToolCall] = []
    for block in answer["content"].each():
        match block["type"].text():
            case "text":
                parts.append(Text(block["text"].text()))
            case "thinking":
                parts.append(Thinking(block["thinking"].text(""), block["signature"].text("")))
            case "redacted_thinking":
                parts.append(Thinking("", block["data"].text(), hidden=True))
            case "tool_use":
                parts.append(ToolCall(block["id"].text(), block["name"].text(), json_text(block["input"].value or {})))
    stop = STOPS.get(answer["stop_reason"].text("end_turn"), "end")
    return Reply(tuple(parts), stop, usage_of(answer["usage"]), answer["model"].text(""), answer["id"].text(""))


def render_reply(reply: Reply, ask: Ask) -> dict[str, Any]:
    """Write a whole answer."""
    return {
        "id": reply.id or f"msg_{uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": reply.model or ask.model,
        "content": [_block(part) for part in reply.parts],
        "stop_reason": REASONS[reply.stop],
        "stop_sequence": None,
        "usage": rendered_usage(reply.usage),
    }


def _block(part: Text | Thinking | ToolCall) -> dict[str, Any]:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Thinking(hidden=True):
            return {"type": "redacted_thinking", "data": part.signature}
        case Thinking():
            return {"type": "thinking", "thinking": part.text, "signature": part.signature}
        case ToolCall():
            arguments = object_of(part.arguments)
            return {"type": "tool_use", "id": part.id or new_tool_id(), "name": part.name, "input": arguments}


def new_tool_id() -> str:
    """Return an identity for a call that came without one."""
    return f"toolu_{uuid4().hex[:24]}"


def usage_of(usage: Field) -> TokenUsage:
    """Read the tokens of a call. Here ``input_tokens`` are without the cached ones; `TokenUsage` counts all."""
    if not usage.given:
        return TokenUsage()
    fresh, details = usage["input_tokens"].integer(), usage["output_tokens_details"]
    cached, write = usage["cache_read_input_tokens"].integer(), usage["cache_creation_input_tokens"].integer()
    return TokenUsage(
        input=None if fresh is None else fresh + (cached or 0) + (write or 0),
        output=usage["output_tokens"].integer(),
        cached=cached,
        cache_write=write,
        reasoning=details["thinking_tokens"].integer() if details.given else None,
    )


def rendered_usage(usage: TokenUsage) -> dict[str, Any]:
    """Write the tokens of a call, cached ones apart; null where they are not known."""
    fresh = None if usage.input is None else max(0, usage.input - (usage.cached or 0) - (usage.cache_write or 0))
    out: dict[str, Any] = {"input_tokens": fresh, "output_tokens": usage.output}
    further = {"cache_read_input_tokens": usage.cached, "cache_creation_input_tokens": usage.cache_write}
    out |= {name: tokens for name, tokens in further.items() if tokens is not None}
    return out if usage.reasoning is None else out | {"output_tokens_details": {"thinking_tokens": usage.reasoning}}
