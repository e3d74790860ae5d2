"""Requests of Anthropic's messages API."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.gateway.dialogue import Ask, Image, Message, Part, Text, Thinking, Tool, ToolCall, ToolResult, Untranslatable
from harness.gateway.formats.fields import Field, json_text, object_of
from harness.gateway.formats.freetext import json_arguments, shown_schema
from harness.gateway.formats.marked import split

MAX_OUTPUT = 8192
"""The field is required there; where nobody named a cap, what every model since Claude 3.5 gives."""

_LEAST_BUDGET = 1024
"""Fewer tokens to think with are refused."""

_KNOWN = (
    "model messages system max_tokens tools tool_choice temperature top_p top_k stop_sequences stream thinking output_config"
    " context_management"
)
_DROPPED = "metadata service_tier cache_control speed inference_geo diagnostics user_profile_id workspace_id betas"
_CACHE = "cache_control"


def parse(body: Mapping[str, Any]) -> Ask:
    """Read a request."""
    ask = Field(body)
    dropped = list(ask.only(_KNOWN, _DROPPED))
    dropped += _context(ask["context_management"])
    effort, schema = _output(ask["output_config"])
    choice, parallel = _tool_choice(ask["tool_choice"])
    system = tuple(_texts(ask["system"], dropped))
    return Ask(
        model=ask["model"].text(),
        messages=(
            *([Message("system", system)] if system else []),
            *(_message(each, dropped) for each in ask["messages"].each()),
        ),
        tools=tuple(_tool(each, dropped) for each in ask["tools"].each()) if ask["tools"] else (),
        tool_choice=choice,
        parallel_tools=parallel,
        max_output=ask["max_tokens"].integer(),
        temperature=ask["temperature"].number(),
        top_p=ask["top_p"].number(),
        top_k=ask["top_k"].integer(),
        stop=ask["stop_sequences"].texts(),
        stream=ask["stream"].flag(),
        json_schema=schema,
        effort=effort,
        thinking_budget=_thinking(ask["thinking"], dropped),
        dropped=tuple(dropped),
    )


def _context(management: Field) -> list[str]:
    """What clears earlier thinking says nothing elsewhere, what clears tools' results changes the prompt."""
    if not management:
        return []
    management.only("edits")
    for edit in management["edits"].each() if management["edits"] else ():
        if not edit["type"].text().startswith("clear_thinking_"):
            raise edit["type"].refused()
    return [management.path]


def _output(config: Field) -> tuple[str | None, Mapping[str, Any] | None]:
    if not config:
        return None, None
    config.only("effort format")
    wanted = config["format"]
    if wanted and wanted["type"].text() != "json_schema":
        raise wanted["type"].refused()
    return config["effort"].text("") or None, wanted["schema"].mapping() if wanted else None


def _thinking(thinking: Field, dropped: list[str]) -> int | None:
    if not thinking:
        return None
    dropped += thinking.only("type budget_tokens", "display")
    match thinking["type"].text():
        case "disabled":
            return 0
        case "adaptive":
            return None
        case "enabled":
            return thinking["budget_tokens"].integer()
        case _:
            raise thinking["type"].refused()


def _tool_choice(choice: Field) -> tuple[str, bool]:
    if not choice.given:
        return "auto", True
    parallel = not choice["disable_parallel_tool_use"].flag()
    match choice["type"].text():
        case "auto":
            return "auto", parallel
        case "any":
            return "required", parallel
        case "none":
            return "none", parallel
        case "tool":
            return choice["name"].text(), parallel
        case _:
            raise choice["type"].refused()


def _tool(tool: Field, dropped: list[str]) -> Tool:
    if tool["type"].text("custom") != "custom":
        raise tool["type"].refused()
    if tool["allowed_callers"] and tool["allowed_callers"].texts() != ("direct",):
        raise tool["allowed_callers"].refused()
    known = "type name description input_schema strict allowed_callers defer_loading"
    dropped += tool.only(known, "cache_control eager_input_streaming input_examples")
    if tool["defer_loading"].flag():
        raise tool["defer_loading"].refused()
    return Tool(tool["name"].text(), tool["description"].text(""), tool["input_schema"].mapping(), tool["strict"].flag())


def _message(message: Field, dropped: list[str]) -> Message:
    message.only("role content", "id type model stop_reason stop_sequence usage")
    role = message["role"].text()
    match role:
        case "system":
            return Message("system", tuple(_texts(message["content"], dropped)))
        case "user" | "assistant":
            content = message["content"]
            if isinstance(content.value, str):
                return Message(role, (Text(content.value),) if content.value else ())
            return Message(role, tuple(_block(each, dropped) for each in content.each()))
        case _:
            raise message["role"].refused()


def _texts(content: Field, dropped: list[str]) -> Iterator[Text]:
    for part in _shown(content, dropped):
        if not isinstance(part, Text):
            raise content.wrong("text")
        yield part


def _shown(content: Field, dropped: list[str]) -> Iterator[Text | Image]:
    """Yield text and images of a prompt or a tool's result."""
    if not content.given or isinstance(content.value, str):
        if content:
            yield Text(content.text())
        return
    for block in content.each():
        part = _block(block, dropped)
        if not isinstance(part, Text | Image):
            raise block["type"].refused()
        yield part


def _block(block: Field, dropped: list[str]) -> Part:
    match block["type"].text():
        case "text":
            dropped += block.only("type text", _CACHE)
            return Text(block["text"].text())
        case "image":
            dropped += block.only("type source", _CACHE)
            if block["source"]["type"].text() != "base64":
                raise block["source"]["type"].refused()
            return Image(block["source"]["media_type"].text(), block["source"]["data"].text())
        case "thinking":
            dropped += block.only("type thinking signature", _CACHE)
            return Thinking(block["thinking"].text(""), block["signature"].text(""))
        case "redacted_thinking":
            dropped += block.only("type data", _CACHE)
            return Thinking("", block["data"].text(), hidden=True)
        case "tool_use":
            dropped += block.only("type id name input caller", _CACHE)
            if block["caller"] and block["caller"]["type"].text() != "direct":
                raise block["caller"]["type"].refused()
            return ToolCall(block["id"].text(), block["name"].text(), json_text(block["input"].mapping()))
        case "tool_result":
            dropped += block.only("type tool_use_id content is_error", _CACHE)
            parts = tuple(_shown(block["content"], dropped))
            return ToolResult(block["tool_use_id"].text(), "", parts, block["is_error"].flag())
        case _:
            raise block["type"].refused()


def render(ask: Ask) -> dict[str, Any]:
    """Write a request."""
    if ask.json_schema is not None and not ask.json_schema:
        raise Untranslatable("json_schema={} (JSON of any shape)", "messages")
    if ask.temperature is not None and ask.temperature > 1:
        raise Untranslatable(f"temperature={ask.temperature:g} (at most 1)", "messages")
    if ask.verbosity is not None:
        raise Untranslatable(f"verbosity={ask.verbosity}", "messages")
    system, dialogue = split(ask.messages)
    cap = MAX_OUTPUT if ask.max_output is None else ask.max_output
    body: dict[str, Any] = {"model": ask.model, "max_tokens": cap, "messages": _turns(dialogue, ask)}
    if blocks := list(_rendered(system, ask)):
        body["system"] = blocks
    if ask.tools:
        body["tools"] = [_rendered_tool(tool) for tool in ask.tools]
        body |= _rendered_choice(ask)
    if thinking := _rendered_thinking(ask, cap):
        body["thinking"] = thinking
    config: dict[str, Any] = {}
    if ask.effort not in (None, "none"):
        config["effort"] = "low" if ask.effort == "minimal" else ask.effort
    if ask.json_schema:
        config["format"] = {"type": "json_schema", "schema": dict(ask.json_schema)}
    told = {
        "temperature": ask.temperature,
        "top_p": ask.top_p,
        "top_k": ask.top_k,
        "stop_sequences": list(ask.stop) or None,
        "stream": ask.stream or None,
        "output_config": config or None,
    }
    return body | {name: value for name, value in told.items() if value is not None}


def _rendered_thinking(ask: Ask, cap: int) -> dict[str, Any] | None:
    if ask.thinking_budget == 0 or ask.effort == "none":
        return {"type": "disabled"}
    return None if ask.thinking_budget is None else fitting(ask.thinking_budget, cap)


def fitting(budget: int, cap: int) -> dict[str, Any]:
    """Return thinking within a budget that the cap of the answer leaves room for."""
    if cap <= _LEAST_BUDGET:
        return {"type": "disabled"}
    return {"type": "enabled", "budget_tokens": min(max(budget, _LEAST_BUDGET), cap - 1)}


def _rendered_choice(ask: Ask) -> dict[str, Any]:
    choice: dict[str, Any]
    match ask.tool_choice:
        case "none":
            return {"tool_choice": {"type": "none"}}
        case "auto":
            if ask.parallel_tools:
                return {}
            choice = {"type": "auto"}
        case "required":
            choice = {"type": "any"}
        case name:
            choice = {"type": "tool", "name": name}
    return {"tool_choice": choice if ask.parallel_tools else choice | {"disable_parallel_tool_use": True}}


def _rendered_tool(tool: Tool) -> dict[str, Any]:
    schema, description = shown_schema(tool)
    written: dict[str, Any] = {"name": tool.name, "input_schema": {"type": "object"} | schema}
    return written | ({"description": description} if description else {}) | ({"strict": True} if tool.strict else {})


def _turns(messages: Iterable[Message], ask: Ask) -> list[dict[str, Any]]:
    """Turns in which results of tools come first, as they must."""
    turns: list[tuple[str, list[dict[str, Any]]]] = []
    for message in messages:
        blocks = list(_rendered(message.parts, ask))
        if turns and turns[-1][0] == message.role:
            turns[-1][1].extend(blocks)
        elif blocks:
            turns.append((message.role, blocks))
    return [{"role": role, "content": sorted(blocks, key=lambda each: each["type"] != "tool_result")} for role, blocks in turns]


def _rendered(parts: Iterable[Part], ask: Ask) -> Iterator[dict[str, Any]]:
    for part in parts:
        match part:
            case Text() if part.text.strip():
                yield {"type": "text", "text": part.text}
            case Image():
                yield {"type": "image", "source": {"type": "base64", "media_type": part.media_type, "data": part.data}}
            case Thinking(hidden=True):
                yield {"type": "redacted_thinking", "data": part.signature}
            case Thinking() if part.signature:  # without its seal it is refused
                yield {"type": "thinking", "thinking": part.text, "signature": part.signature}
            case ToolCall():
                arguments = object_of(json_arguments(part, ask))
                yield {"type": "tool_use", "id": tool_id(part.id), "name": part.name, "input": arguments}
            case ToolResult():
                result = {"type": "tool_result", "tool_use_id": tool_id(part.id), "content": list(_rendered(part.parts, ask))}
                yield result | ({"is_error": True} if part.is_error else {})


def tool_id(identity: str) -> str:
    """Return an identity of letters, digits, _ and - as the API takes it; other servers' have dots and colons."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", identity) or "_"


def capped(body: Mapping[str, Any], model: str, max_output: int | None) -> dict[str, Any]:
    """Return a body with the model's name and the cap, in which the budget of thinking must fit."""
    out = dict(body) | {"model": model}
    if max_output is None:
        return out
    asked = Field(out.get("max_tokens"), "max_tokens").integer()
    out["max_tokens"] = max_output if asked is None else min(asked, max_output)
    thinking = Field(out.get("thinking"), "thinking")
    budget = thinking["budget_tokens"].integer() if thinking else None
    if budget is not None and budget >= out["max_tokens"]:
        out["thinking"] = fitting(budget, out["max_tokens"])
    return out
