"""Requests of OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.gateway.dialogue import Ask, Image, Malformed, Message, Part, Text, Thinking, Tool, ToolCall, ToolResult
from harness.gateway.formats.budgets import effort_of
from harness.gateway.formats.fields import Field
from harness.gateway.formats.freetext import json_arguments, shown_schema
from harness.gateway.formats.images import data_url, read_data_url

_KNOWN = (
    "model messages tools tool_choice parallel_tool_calls max_tokens max_completion_tokens temperature top_p top_k stop stream"
    " stream_options response_format reasoning_effort verbosity n logprobs top_logprobs frequency_penalty presence_penalty"
    " modalities"
)
_DROPPED = (
    "user metadata store service_tier safety_identifier prompt_cache_key prompt_cache_retention prompt_cache_options prediction"
)
_MESSAGE = "role content name tool_calls tool_call_id refusal reasoning_content reasoning"
_MESSAGE_DROPPED = "cache_control thinking_blocks provider_specific_fields annotations id status"


def parse(body: Mapping[str, Any]) -> Ask:
    """Read a request."""
    ask = Field(body)
    dropped = list(ask.only(_KNOWN, _DROPPED))
    for name, silent in (("n", 1), ("logprobs", False), ("top_logprobs", 0), ("frequency_penalty", 0), ("presence_penalty", 0)):
        if ask[name].given and ask[name].value != silent:
            raise ask[name].refused()
    if ask["modalities"] and list(ask["modalities"].texts()) != ["text"]:
        raise ask["modalities"].refused()
    most = [cap for cap in (ask["max_completion_tokens"].integer(), ask["max_tokens"].integer()) if cap is not None]
    return Ask(
        model=ask["model"].text(),
        messages=_messages(ask["messages"], dropped),
        tools=tuple(_tool(each) for each in ask["tools"].each()) if ask["tools"] else (),
        tool_choice=_tool_choice(ask["tool_choice"]),
        parallel_tools=ask["parallel_tool_calls"].flag(True),
        max_output=min(most, default=None),
        temperature=ask["temperature"].number(),
        top_p=ask["top_p"].number(),
        top_k=ask["top_k"].integer(),
        stop=ask["stop"].texts(),
        stream=ask["stream"].flag(),
        stream_usage=not ask["stream"].flag() or (ask["stream_options"].given and ask["stream_options"]["include_usage"].flag()),
        json_schema=_json_schema(ask["response_format"]),
        effort=ask["reasoning_effort"].text("") or None,
        verbosity=ask["verbosity"].text("") or None,
        dropped=tuple(dropped),
    )


def _messages(messages: Field, dropped: list[str]) -> tuple[Message, ...]:
    read: list[Message] = []
    results: list[Part] = []
    for each in messages.each():
        role = each["role"].text()
        if role == "tool":
            each.only(_MESSAGE, _MESSAGE_DROPPED)
            shown = tuple(_content(each["content"], dropped))
            results.append(ToolResult(each["tool_call_id"].text(), each["name"].text(""), shown))
            continue
        parts: tuple[Part, ...] = tuple(_message(each, role, dropped))
        if role == "user":
            parts, results = (*results, *parts), []
        elif results:
            read.append(Message("user", tuple(results)))
            results = []
        read.append(Message("system" if role in ("system", "developer") else "user" if role == "user" else "assistant", parts))
    if results:
        read.append(Message("user", tuple(results)))
    return tuple(read)


def _message(message: Field, role: str, dropped: list[str]) -> Iterator[Part]:
    dropped += message.only(_MESSAGE, _MESSAGE_DROPPED)
    if role not in ("system", "developer", "user", "assistant"):
        raise message["role"].refused()
    if message["name"]:
        raise message["name"].refused()
    if role != "assistant":
        yield from _content(message["content"], dropped)
        return
    if thought := message["reasoning_content"] or message["reasoning"]:
        yield Thinking(thought.text())
    yield from _content(message["content"], dropped)
    if message["refusal"]:
        yield Text(message["refusal"].text())
    if message["tool_calls"]:
        for call in message["tool_calls"].each():
            yield _tool_call(call)


def _tool_call(call: Field) -> ToolCall:
    match call["type"].text("function"):
        case "function":
            return ToolCall(call["id"].text(), call["function"]["name"].text(), call["function"]["arguments"].text(""))
        case "custom":
            return ToolCall(call["id"].text(), call["custom"]["name"].text(), call["custom"]["input"].text(""))
        case _:
            raise call["type"].refused()


def _content(content: Field, dropped: list[str]) -> Iterator[Text | Image]:
    if not content.given or isinstance(content.value, str):
        if content:
            yield Text(content.text())
        return
    for part in content.each():
        match part["type"].text():
            case "text":
                dropped += part.only("type text", "cache_control prompt_cache_breakpoint")
                yield Text(part["text"].text())
            case "refusal":
                yield Text(part["refusal"].text())
            case "image_url":
                dropped += part.only("type image_url", "cache_control prompt_cache_breakpoint")
                dropped += part["image_url"].only("url", "detail")
                yield read_data_url(part["image_url"]["url"])
            case _:
                raise part["type"].refused()


def _tool(tool: Field) -> Tool:
    tool.only("type function custom", "cache_control")
    match tool["type"].text("function"):
        case "function":
            function = tool["function"]
            function.only("name description parameters strict", "cache_control")
            schema = function["parameters"].mapping() if function["parameters"].given else {}
            return Tool(function["name"].text(), function["description"].text(""), schema, function["strict"].flag())
        case "custom":
            custom = tool["custom"]
            custom.only("name description format")
            grammar = custom["format"]["grammar"] if custom["format"] else custom["format"]
            return Tool(
                custom["name"].text(), custom["description"].text(""), None, grammar=grammar.mapping() if grammar else None
            )
        case _:
            raise tool["type"].refused()


def _tool_choice(choice: Field) -> str:
    if not choice.given:
        return "auto"
    if isinstance(choice.value, str):
        if choice.value not in ("auto", "none", "required"):
            raise choice.wrong("auto, none, required or an object")
        return choice.value
    kind = choice["type"].text()
    if kind not in ("function", "custom"):
        raise choice["type"].refused()
    return choice[kind]["name"].text()


def _json_schema(wanted: Field) -> Mapping[str, Any] | None:
    if not wanted.given:
        return None
    match wanted["type"].text():
        case "text":
            return None
        case "json_object":
            return {}
        case "json_schema":
            return wanted["json_schema"]["schema"].mapping()
        case _:
            raise wanted["type"].refused()


def render(ask: Ask) -> dict[str, Any]:
    """Write a request."""
    body: dict[str, Any] = {
        "model": ask.model,
        "messages": [each for message in ask.messages for each in _rendered(message, ask)],
    }
    if ask.tools:
        body["tools"] = [_rendered_tool(tool) for tool in ask.tools]
        if ask.tool_choice in ("none", "required"):
            body["tool_choice"] = ask.tool_choice
        elif ask.tool_choice != "auto":
            body["tool_choice"] = {"type": "function", "function": {"name": ask.tool_choice}}
        if not ask.parallel_tools:
            body["parallel_tool_calls"] = False
    if ask.stop:
        body["stop"] = list(ask.stop)
    if ask.json_schema is not None:
        schema = {"name": "answer", "schema": dict(ask.json_schema), "strict": ask.strict_json}
        body["response_format"] = {"type": "json_schema", "json_schema": schema} if ask.json_schema else {"type": "json_object"}
    if ask.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    told = {
        "max_completion_tokens": ask.max_output,
        "temperature": ask.temperature,
        "top_p": ask.top_p,
        "reasoning_effort": effort_of(ask),
        "verbosity": ask.verbosity,
    }
    return body | {name: value for name, value in told.items() if value is not None}


def _rendered(message: Message, ask: Ask) -> Iterator[dict[str, Any]]:
    shown: list[Text | Image] = []
    calls = []
    for part in message.parts:
        match part:
            case ToolResult():
                yield from _rendered_result(part)
            case ToolCall():
                function = {"name": part.name, "arguments": json_arguments(part, ask)}
                calls.append({"id": part.id, "type": "function", "function": function})
            case Text() | Image():
                shown.append(part)
            case Thinking():
                pass  # OpenAI takes no reasoning back here, and reasoning models' templates cut that of earlier turns
    if message.role == "assistant":
        said: dict[str, Any] = {"role": "assistant", "content": _rendered_content(shown) or None}
        yield said | {"tool_calls": calls} if calls else said | {"content": said["content"] or ""}
    elif shown:
        yield {"role": message.role, "content": _rendered_content(shown)}


def _rendered_result(result: ToolResult) -> Iterator[dict[str, Any]]:
    """A tool's message holds text only; images follow in a user's message, as OpenAI's guide for vision advises."""
    texts = [part for part in result.parts if isinstance(part, Text)]
    images = [part for part in result.parts if isinstance(part, Image)]
    content = _rendered_content(list(texts))
    yield {"role": "tool", "tool_call_id": result.id, "content": content if texts else ("(image follows)" if images else "")}
    if images:
        yield {"role": "user", "content": [{"type": "text", "text": f"Image of tool result {result.id}:"}, *map(_image, images)]}


def _rendered_content(parts: list[Text | Image]) -> str | list[dict[str, Any]]:
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [{"type": "text", "text": part.text} if isinstance(part, Text) else _image(part) for part in parts]


def _image(image: Image) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(image)}}


def _rendered_tool(tool: Tool) -> dict[str, Any]:
    schema, description = shown_schema(tool)
    function: dict[str, Any] = {"name": tool.name, "description": description, "parameters": schema}
    return {"type": "function", "function": function | ({"strict": True} if tool.strict else {})}


def capped(body: Mapping[str, Any], model: str, max_output: int | None) -> dict[str, Any]:
    """Return a body with the model's name, the cap, and usage asked for in streams."""
    out = dict(body) | {"model": model}
    choices = max(1, _choices(body))
    if max_output is not None:
        most = max_output // choices
        given = [name for name in ("max_tokens", "max_completion_tokens") if out.get(name) is not None]
        for name in given or ["max_completion_tokens"]:
            out[name] = min(most, Field(out[name], name).integer() or 0) if name in given else most
    if out.get("stream") is True:
        options = Field(out.get("stream_options") or {}, "stream_options").mapping()
        out["stream_options"] = dict(options) | {"include_usage": True}
    return out


def asked_output(body: Mapping[str, Any]) -> int | None:
    """Return the tokens of all choices together."""
    most = [Field(body.get(name), name).integer() for name in ("max_tokens", "max_completion_tokens")]
    said = [cap for cap in most if cap is not None]
    return min(said) * max(1, _choices(body)) if said else None


def _choices(body: Mapping[str, Any]) -> int:
    choices = Field(body.get("n"), "n").integer()
    if choices == 0:
        raise Malformed("n must be at least 1, not 0")
    return choices or 1
