"""Requests of OpenAI's responses API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.gateway.dialogue import Ask, Image, Message, Part, Text, Thinking, Tool, ToolCall, ToolResult, Untranslatable
from harness.gateway.formats.budgets import effort_of
from harness.gateway.formats.fields import Field
from harness.gateway.formats.images import data_url, read_data_url

_KNOWN = (
    "model input instructions tools tool_choice parallel_tool_calls max_output_tokens temperature top_p stream text reasoning"
    " include truncation background top_logprobs"
)
_DROPPED = (
    "user metadata store service_tier safety_identifier prompt_cache_key prompt_cache_retention prompt_cache_options"
    " stream_options client_metadata"
)
_ITEM_DROPPED = "id status phase namespace annotations logprobs detail internal_chat_message_metadata_passthrough"


def parse(body: Mapping[str, Any]) -> Ask:
    """Read a request. What a provider would have to remember (``previous_response_id``, ``conversation``) is refused."""
    ask = Field(body)
    dropped = list(ask.only(_KNOWN, _DROPPED))
    for name, silent in (("truncation", "disabled"), ("background", False), ("top_logprobs", 0)):
        if ask[name].given and ask[name].value != silent:
            raise ask[name].refused()
    for wanted in ask["include"].each() if ask["include"] else ():
        if wanted.text() != "reasoning.encrypted_content":
            raise wanted.refused()
    if ask["reasoning"]:
        dropped += ask["reasoning"].only("effort", "summary generate_summary context")
    if ask["text"]:
        ask["text"].only("format verbosity")
    instructions = ask["instructions"].text("")
    return Ask(
        model=ask["model"].text(),
        messages=(*([Message("system", (Text(instructions),))] if instructions else []), *_messages(ask["input"], dropped)),
        tools=tuple(_tool(each) for each in ask["tools"].each()) if ask["tools"] else (),
        tool_choice=_tool_choice(ask["tool_choice"]),
        parallel_tools=ask["parallel_tool_calls"].flag(True),
        max_output=ask["max_output_tokens"].integer(),
        temperature=ask["temperature"].number(),
        top_p=ask["top_p"].number(),
        stream=ask["stream"].flag(),
        json_schema=_json_schema(ask["text"]["format"]) if ask["text"] else None,
        effort=ask["reasoning"]["effort"].text("") or None if ask["reasoning"] else None,
        verbosity=ask["text"]["verbosity"].text("") or None if ask["text"] else None,
        dropped=tuple(dropped),
    )


def _messages(items: Field, dropped: list[str]) -> list[Message]:
    """Items are put together into turns: what an assistant thought, said and called; what tools gave and the user says to it."""
    if isinstance(items.value, str):
        return [Message("user", (Text(items.value),))]
    turns: list[tuple[str, list[Part]]] = []
    for item in items.each():
        role, parts = _item(item, dropped)
        last = turns[-1] if turns else None
        follows = last and last[0] == role and (role == "assistant" or (role == "user" and isinstance(last[1][-1], ToolResult)))
        if last and follows and parts:
            last[1].extend(parts)
        elif parts:
            turns.append((role, parts))
    return [Message(_role(role), tuple(parts)) for role, parts in turns]


def _role(role: str) -> Any:
    return "system" if role == "developer" else role


def _item(item: Field, dropped: list[str]) -> tuple[str, list[Part]]:
    kind = item["type"].text("message")
    match kind:
        case "message":
            dropped += item.only("type role content", _ITEM_DROPPED)
            if item["role"].text() not in ("user", "assistant", "system", "developer"):
                raise item["role"].refused()
            return item["role"].text(), list(_content(item["content"], dropped))
        case "reasoning":
            dropped += item.only("type summary content encrypted_content", _ITEM_DROPPED)
            return "assistant", [_thinking(item)]
        case "function_call":
            dropped += item.only("type call_id name arguments", f"{_ITEM_DROPPED} caller")
            return "assistant", [ToolCall(item["call_id"].text(), item["name"].text(), item["arguments"].text(""))]
        case "custom_tool_call":
            dropped += item.only("type call_id name input", f"{_ITEM_DROPPED} caller")
            return "assistant", [ToolCall(item["call_id"].text(), item["name"].text(), item["input"].text(""))]
        case "function_call_output" | "custom_tool_call_output":
            dropped += item.only("type call_id output name", f"{_ITEM_DROPPED} caller")
            parts = tuple(_content(item["output"], dropped))
            return "user", [ToolResult(item["call_id"].text(), item["name"].text(""), parts)]
        case _:
            raise item["type"].refused()


def _thinking(item: Field) -> Thinking:
    shown = [*(item["summary"].each() if item["summary"] else ()), *(item["content"].each() if item["content"] else ())]
    return Thinking("\n\n".join(each["text"].text() for each in shown), item["encrypted_content"].text(""))


def _content(content: Field, dropped: list[str]) -> Iterator[Text | Image]:
    if not content.given or isinstance(content.value, str):
        if content:
            yield Text(content.text())
        return
    for part in content.each():
        match part["type"].text():
            case "input_text" | "output_text" | "text":
                dropped += part.only("type text", f"{_ITEM_DROPPED} prompt_cache_breakpoint")
                yield Text(part["text"].text())
            case "refusal":
                yield Text(part["refusal"].text())
            case "input_image":
                dropped += part.only("type image_url", f"{_ITEM_DROPPED} prompt_cache_breakpoint")
                yield read_data_url(part["image_url"])
            case _:
                raise part["type"].refused()


def _tool(tool: Field) -> Tool:
    match tool["type"].text():
        case "function":
            tool.only("type name description parameters strict")
            schema = tool["parameters"].mapping() if tool["parameters"].given else {}
            return Tool(tool["name"].text(), tool["description"].text(""), schema, tool["strict"].flag())
        case "custom":
            tool.only("type name description format")
            wanted = tool["format"]
            grammar = None
            if wanted and wanted["type"].text() == "grammar":
                grammar = {"syntax": wanted["syntax"].text(), "definition": wanted["definition"].text()}
            return Tool(tool["name"].text(), tool["description"].text(""), None, grammar=grammar)
        case _:
            raise tool["type"].refused()


def _tool_choice(choice: Field) -> str:
    if not choice.given:
        return "auto"
    if isinstance(choice.value, str):
        if choice.value not in ("auto", "none", "required"):
            raise choice.wrong("auto, none, required or an object")
        return choice.value
    if choice["type"].text() not in ("function", "custom"):
        raise choice["type"].refused()
    return choice["name"].text()


def _json_schema(wanted: Field) -> Mapping[str, Any] | None:
    if not wanted.given:
        return None
    match wanted["type"].text():
        case "text":
            return None
        case "json_object":
            return {}
        case "json_schema":
            return wanted["schema"].mapping()
        case _:
            raise wanted["type"].refused()


def render(ask: Ask) -> dict[str, Any]:
    """Write a request; nothing of it is to be stored."""
    if ask.stop:
        raise Untranslatable(f"stop={list(ask.stop)}", "responses")
    messages = list(ask.messages)
    body: dict[str, Any] = {"model": ask.model}
    if messages and messages[0].role == "system" and len(messages[0].parts) == 1 and isinstance(messages[0].parts[0], Text):
        body["instructions"] = messages.pop(0).parts[0].text  # type: ignore[union-attr]
    body["input"] = [item for message in messages for item in _items(message, ask)]
    body["store"] = False
    if ask.tools:
        body["tools"] = [_rendered_tool(tool) for tool in ask.tools]
        if ask.tool_choice in ("none", "required"):
            body["tool_choice"] = ask.tool_choice
        elif ask.tool_choice != "auto":
            kind = "custom" if ask.tool_choice in ask.free_text else "function"
            body["tool_choice"] = {"type": kind, "name": ask.tool_choice}
        if not ask.parallel_tools:
            body["parallel_tool_calls"] = False
    text: dict[str, Any] = {}
    if ask.json_schema is not None:
        schema = {"type": "json_schema", "name": "answer", "schema": dict(ask.json_schema), "strict": ask.strict_json}
        text["format"] = schema if ask.json_schema else {"type": "json_object"}
    if ask.verbosity is not None:
        text["verbosity"] = ask.verbosity
    effort = effort_of(ask)
    told = {
        "max_output_tokens": ask.max_output,
        "temperature": ask.temperature,
        "top_p": ask.top_p,
        "stream": ask.stream or None,
        "text": text or None,
        "reasoning": None if effort is None else {"effort": effort},
    }
    return body | {name: value for name, value in told.items() if value is not None}


def _items(message: Message, ask: Ask) -> Iterator[dict[str, Any]]:
    shown: list[Text | Image] = []
    for part in sorted(message.parts, key=lambda each: not isinstance(each, ToolResult)):
        if not isinstance(part, Text | Image) and shown:
            yield _said(message, shown)
            shown = []
        match part:
            case Text() | Image():
                shown.append(part)
            case Thinking() if part.signature and not part.hidden:  # without its seal it is of no use there
                summary = [{"type": "summary_text", "text": part.text}] if part.text else []
                yield {"type": "reasoning", "summary": summary, "encrypted_content": part.signature}
            case ToolCall():
                free = part.name in ask.free_text
                kind, given = ("custom_tool_call", "input") if free else ("function_call", "arguments")
                yield {"type": kind, "call_id": part.id, "name": part.name, given: part.arguments}
            case ToolResult():
                free = ask.called.get(part.id) in ask.free_text
                kind = "custom_tool_call_output" if free else "function_call_output"
                yield {"type": kind, "call_id": part.id, "output": _output(part.parts)}
    if shown:
        yield _said(message, shown)


def _said(message: Message, parts: list[Text | Image]) -> dict[str, Any]:
    if message.role == "assistant":
        if any(isinstance(part, Image) for part in parts):
            raise Untranslatable("an image of the assistant", "responses")
        content = [{"type": "output_text", "text": part.text} for part in parts if isinstance(part, Text)]
        return {"type": "message", "role": "assistant", "content": content}
    return {"type": "message", "role": message.role, "content": _rendered(parts)}


def _output(parts: tuple[Text | Image, ...]) -> str | list[dict[str, Any]]:
    if not parts:
        return ""
    return parts[0].text if len(parts) == 1 and isinstance(parts[0], Text) else _rendered(parts)


def _rendered(parts: Iterable[Text | Image]) -> list[dict[str, Any]]:
    return [
        {"type": "input_text", "text": part.text}
        if isinstance(part, Text)
        else {"type": "input_image", "image_url": data_url(part), "detail": "auto"}
        for part in parts
    ]


def _rendered_tool(tool: Tool) -> dict[str, Any]:
    if tool.schema is None:
        wanted = {"type": "grammar", **tool.grammar} if tool.grammar else {"type": "text"}
        return {"type": "custom", "name": tool.name, "description": tool.description, "format": wanted}
    function = {"type": "function", "name": tool.name, "description": tool.description}
    return function | {"parameters": dict(tool.schema), "strict": tool.strict}


def capped(body: Mapping[str, Any], model: str, max_output: int | None) -> dict[str, Any]:
    """Return a body with the model's name and the cap."""
    out = dict(body) | {"model": model}
    if max_output is not None:
        asked = Field(out.get("max_output_tokens"), "max_output_tokens").integer()
        out["max_output_tokens"] = max_output if asked is None else min(asked, max_output)
    return out
