"""Whole answers of OpenAI's responses API."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from harness.gateway.dialogue import Ask, Malformed, Reply, Stop, Text, Thinking, TokenUsage, ToolCall
from harness.gateway.formats import openai
from harness.gateway.formats.fields import Field
from harness.gateway.formats.freetext import unwrapped
from harness.gateway.formats.pieces import stop_of


def parse_reply(body: Mapping[str, Any]) -> Reply:
    """Read a whole answer."""
    answer = Field(body)
    if answer["status"].value == "failed":
        raise Malformed(answer["error"]["message"].text("") if answer["error"] else "the response failed without a reason")
    parts = [part for item in answer["output"].each() for part in _parts(item)]
    return Reply(
        tuple(parts), stop_of(parts, ending(answer)), usage_of(answer["usage"]), answer["model"].text(""), answer["id"].text("")
    )


def ending(answer: Field) -> Stop:
    """Return how an answer ended, calls of tools apart."""
    if answer["status"].value != "incomplete":
        return "end"
    reason = answer["incomplete_details"]["reason"].text("") if answer["incomplete_details"] else ""
    return "refusal" if reason == "content_filter" else "length"


def _parts(item: Field) -> list[Text | Thinking | ToolCall]:
    """Items of the provider's own tools are passed over: those are not granted."""
    match item["type"].text():
        case "message":
            content = item["content"].each()
            return [Text(each["refusal" if each["type"].value == "refusal" else "text"].text("")) for each in content]
        case "reasoning":
            return [thinking_of(item)]
        case "function_call":
            return [ToolCall(item["call_id"].text(), item["name"].text(), item["arguments"].text(""))]
        case "custom_tool_call":
            return [ToolCall(item["call_id"].text(), item["name"].text(), item["input"].text(""))]
    return []


def thinking_of(item: Field) -> Thinking:
    """Read an item of reasoning: its summary, or the reasoning itself where a server shows it."""
    shown = [*(item["summary"].each() if item["summary"] else ()), *(item["content"].each() if item["content"] else ())]
    return Thinking("\n\n".join(each["text"].text() for each in shown), item["encrypted_content"].text(""))


def render_reply(reply: Reply, ask: Ask) -> dict[str, Any]:
    """Write a whole answer."""
    output = [item_of(part, ask) for part in reply.parts]
    identity = reply.id or new_id("resp")
    return response(identity, int(time.time()), reply.model or ask.model, output, reply.stop, reply.usage)


def response(
    identity: str, created: int, model: str, output: list[dict[str, Any]], stop: Stop | None, usage: TokenUsage
) -> dict[str, Any]:
    """Return a response as a client sees it; ``stop`` None: it goes on."""
    cut = {"length": "max_output_tokens", "refusal": "content_filter"}.get(stop or "")
    return {
        "id": identity,
        "object": "response",
        "created_at": created,
        "status": "in_progress" if stop is None else "incomplete" if cut else "completed",
        "background": False,
        "error": None,
        "incomplete_details": {"reason": cut} if cut else None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "usage": rendered_usage(usage),
        "user": None,
    }


def new_id(kind: str) -> str:
    """Return a fresh identity."""
    return f"{kind}_{uuid4().hex}"


def item_of(part: Text | Thinking | ToolCall, ask: Ask, identity: str = "") -> dict[str, Any]:
    """Return one finished item of output."""
    match part:
        case Text():
            content = {"type": "output_text", "text": part.text, "annotations": [], "logprobs": []}
            said = {"type": "message", "id": identity or new_id("msg"), "status": "completed", "role": "assistant"}
            return said | {"content": [content]}
        case Thinking():
            summary = [{"type": "summary_text", "text": part.text}] if part.text else []
            item = {"type": "reasoning", "id": identity or new_id("rs"), "summary": summary}
            return item | ({"encrypted_content": part.signature} if part.signature else {})
        case ToolCall():
            call = {"call_id": part.id or new_id("call"), "name": part.name, "status": "completed"}
            if part.name in ask.free_text:
                return {"type": "custom_tool_call", "id": identity or new_id("ctc")} | call | {"input": unwrapped(part.arguments)}
            return {"type": "function_call", "id": identity or new_id("fc")} | call | {"arguments": part.arguments or "{}"}


def usage_of(usage: Field) -> TokenUsage:
    """Read the tokens of a call; what is not there is unknown."""
    return openai.usage_of(usage, "input", "output")


def rendered_usage(usage: TokenUsage) -> dict[str, Any] | None:
    """Write the tokens of a call, or nothing where they are not known. Clients need the details: there unknown is 0."""
    if usage.input is None or usage.output is None:
        return None
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached or 0, "cache_write_tokens": usage.cache_write or 0},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": usage.input + usage.output,
    }
