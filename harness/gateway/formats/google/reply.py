"""Whole answers of Google's generateContent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from harness.gateway.dialogue import Ask, Malformed, Reply, Stop, Text, Thinking, TokenUsage, ToolCall
from harness.gateway.formats.fields import Field, json_text, object_of
from harness.gateway.formats.pieces import stop_of

_REFUSALS = (
    "SAFETY RECITATION LANGUAGE BLOCKLIST PROHIBITED_CONTENT SPII IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION"
    " MODEL_ARMOR"
)
STOPS: Mapping[str, Stop] = {"MAX_TOKENS": "length", **dict.fromkeys(_REFUSALS.split(), "refusal")}
REASONS: Mapping[Stop, str] = {"end": "STOP", "length": "MAX_TOKENS", "tools": "STOP", "refusal": "SAFETY"}


def parse_reply(body: Mapping[str, Any]) -> Reply:
    """Read a whole answer; of several candidates the first."""
    answer = Field(body)
    parts, stop = parts_of(answer), stop_in(answer)
    if stop is None and not parts and not answer["candidates"]:
        raise Malformed("the answer has neither candidates nor a reason why not")
    return Reply(
        tuple(part for part in parts if not isinstance(part, Text) or part.text),
        stop_of(parts, stop or "end"),
        usage_of(answer["usageMetadata"]),
        answer["modelVersion"].text(""),
        answer["responseId"].text(""),
    )


def stop_in(answer: Field) -> Stop | None:
    """Return how an answer, or this chunk of one, ended; None: it goes on."""
    if answer["promptFeedback"] and answer["promptFeedback"]["blockReason"]:
        return "refusal"
    for candidate in answer["candidates"].each() if answer["candidates"] else ():
        reason = candidate["finishReason"].text("")
        if reason and not candidate["index"].integer():
            return STOPS.get(reason, "end")
    return None


def parts_of(answer: Field) -> list[Text | Thinking | ToolCall]:
    """Return the parts of an answer or of a chunk."""
    parts: list[Text | Thinking | ToolCall] = []
    for candidate in answer["candidates"].each() if answer["candidates"] else ():
        if candidate["index"].integer() or not candidate["content"] or not candidate["content"]["parts"]:
            continue
        for part in candidate["content"]["parts"].each():
            seal = part["thoughtSignature"].text("")
            if part["functionCall"]:
                call = part["functionCall"]
                arguments = json_text(call["args"].value or {})
                parts.append(ToolCall(call["id"].text("") or f"call_{uuid4().hex[:24]}", call["name"].text(), arguments, seal))
            elif part["thought"].flag():
                parts.append(Thinking(part["text"].text(""), seal))
            elif part["text"]:
                parts.append(Text(part["text"].text()))
    return parts


def render_reply(reply: Reply, ask: Ask) -> dict[str, Any]:
    """Write a whole answer."""
    parts = [part_of(part) for part in reply.parts]
    return chunk(parts, reply.model or ask.model, reply.id or new_id(), reply.stop, reply.usage)


def chunk(parts: list[dict[str, Any]], model: str, identity: str, stop: Stop | None, usage: TokenUsage | None) -> dict[str, Any]:
    """Return an answer, or a chunk of one that goes on."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if stop is not None:
        candidate["finishReason"] = REASONS[stop]
    told = {"usageMetadata": rendered_usage(usage)} if usage is not None and usage != TokenUsage() else {}
    return {"candidates": [candidate]} | told | {"modelVersion": model, "responseId": identity}


def new_id() -> str:
    """Return a fresh identity."""
    return uuid4().hex[:22]


def part_of(part: Text | Thinking | ToolCall) -> dict[str, Any]:
    """Write one part."""
    match part:
        case Text():
            return {"text": part.text}
        case Thinking():
            return {"text": part.text, "thought": True} | ({"thoughtSignature": part.signature} if part.signature else {})
        case ToolCall():
            call = {"name": part.name, "args": object_of(part.arguments)}
            out: dict[str, Any] = {"functionCall": ({"id": part.id} if part.id else {}) | call}
            return out | ({"thoughtSignature": part.signature} if part.signature else {})


def usage_of(usage: Field) -> TokenUsage:
    """Read the tokens of a call. Here thoughts are counted beside the answer; `TokenUsage` has both in ``output``."""
    if not usage:
        return TokenUsage()
    prompt, tools = usage["promptTokenCount"].integer(), usage["toolUsePromptTokenCount"].integer() or 0
    answer, thoughts = usage["candidatesTokenCount"].integer(), usage["thoughtsTokenCount"].integer()
    whole = usage["totalTokenCount"].integer()
    output = None if answer is None and thoughts is None else (answer or 0) + (thoughts or 0)
    if prompt is not None and whole is not None and output is None:
        output = whole - prompt - tools  # counts of 0 are left out
    return TokenUsage(
        input=None if prompt is None else prompt + tools,
        output=output,
        cached=usage["cachedContentTokenCount"].integer(),
        reasoning=thoughts,
    )


def rendered_usage(usage: TokenUsage) -> dict[str, Any]:
    """Write the tokens of a call; what is not known is left out."""
    answer = None if usage.output is None else usage.output - (usage.reasoning or 0)
    out = {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": answer,
        "totalTokenCount": None if usage.input is None or usage.output is None else usage.input + usage.output,
        "cachedContentTokenCount": usage.cached,
        "thoughtsTokenCount": usage.reasoning,
    }
    return {name: tokens for name, tokens in out.items() if tokens is not None}
