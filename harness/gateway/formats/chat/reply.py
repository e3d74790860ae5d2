"""Whole answers of OpenAI's chat completions."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from harness.gateway.dialogue import Ask, Reply, Stop, Text, Thinking, TokenUsage, ToolCall
from harness.gateway.formats import openai
from harness.gateway.formats.fields import Field
from harness.gateway.formats.freetext import unwrapped
from harness.gateway.formats.pieces import stop_of

STOPS: Mapping[str, Stop] = {
    "stop": "end",
    "length": "length",
    "tool_calls": "tools",
    "function_call": "tools",
    "content_filter": "refusal",
}
REASONS: Mapping[Stop, str] = {"end": "stop", "length": "length", "tools": "tool_calls", "refusal": "content_filter"}


def parse_reply(body: Mapping[str, Any]) -> Reply:
    """Read a whole answer; of several choices the first."""
    answer = Field(body)
    choices = list(answer["choices"].each())
    if not choices:
        raise answer["choices"].wrong("at least one choice")
    message = choices[0]["message"]
    parts: list[Text | Thinking | ToolCall] = []
    if thought := message["reasoning_content"] or message["reasoning"]:
        parts.append(Thinking(thought.text()))
    parts += [Text(message[name].text()) for name in ("content", "refusal") if message[name]]
    if message["tool_calls"]:
        for call in message["tool_calls"].each():
            kind, given = ("custom", "input") if call["type"].value == "custom" else ("function", "arguments")
            parts.append(ToolCall(call["id"].text(""), call[kind]["name"].text(), call[kind][given].text("")))
    stop = "refusal" if message["refusal"] else STOPS.get(choices[0]["finish_reason"].text("stop"), "end")
    return Reply(tuple(parts), stop_of(parts, stop), usage_of(answer["usage"]), answer["model"].text(""), answer["id"].text(""))


def render_reply(reply: Reply, ask: Ask) -> dict[str, Any]:
    """Write a whole answer."""
    message: dict[str, Any] = {"role": "assistant"}
    message["content"] = "".join(part.text for part in reply.parts if isinstance(part, Text)) or None
    message["refusal"] = None
    if thought := "".join(part.text for part in reply.parts if isinstance(part, Thinking)):
        message["reasoning_content"] = thought
    if calls := [_call(part, ask) for part in reply.parts if isinstance(part, ToolCall)]:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": REASONS[reply.stop]}
    return {
        "id": reply.id or f"chatcmpl-{uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": reply.model or ask.model,
        "choices": [choice],
        "usage": rendered_usage(reply.usage),
    }


def _call(call: ToolCall, ask: Ask) -> dict[str, Any]:
    identity = call.id or f"call_{uuid4().hex[:24]}"
    if call.name in ask.free_text:
        return {"id": identity, "type": "custom", "custom": {"name": call.name, "input": unwrapped(call.arguments)}}
    return {"id": identity, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}


def usage_of(usage: Field) -> TokenUsage:
    """Read the tokens of a call; what is not there is unknown."""
    return openai.usage_of(usage, "prompt", "completion")


def rendered_usage(usage: TokenUsage) -> dict[str, Any] | None:
    """Write the tokens of a call; none where they are not known."""
    if usage.input is None or usage.output is None:
        return None
    out: dict[str, Any] = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
    }
    prompt = {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write}
    if known := {name: tokens for name, tokens in prompt.items() if tokens is not None}:
        out["prompt_tokens_details"] = known
    if usage.reasoning is not None:
        out["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return out
