"""Requests of Google's generateContent."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.gateway.dialogue import Ask, Image, Message, Part, Text, Thinking, Tool, ToolCall, ToolResult, Untranslatable
from harness.gateway.formats.fields import Field, json_text, object_of
from harness.gateway.formats.freetext import json_arguments, shown_schema
from harness.gateway.formats.google.schema import json_schema
from harness.gateway.formats.marked import split

UNSEALED = "skip_thought_signature_validator"
"""What Google documents to be sent where a call in the history has no seal, because another model or client made it."""

_KNOWN = "model stream contents systemInstruction tools toolConfig generationConfig"
_CONFIG = (
    "temperature topP topK maxOutputTokens stopSequences candidateCount responseMimeType responseSchema responseJsonSchema"
    " thinkingConfig responseModalities responseLogprobs logprobs presencePenalty frequencyPenalty"
)
_SILENT = {"candidateCount": 1, "responseLogprobs": False, "logprobs": 0, "presencePenalty": 0, "frequencyPenalty": 0}
_OPAQUE = frozenset(
    {"args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema", "_responseJsonSchema"}
)
_LEVELS = {"MINIMAL": "minimal", "LOW": "low", "MEDIUM": "medium", "HIGH": "high"}
_SEALED = "thoughtSignature"


def camel(value: Any) -> Any:
    """Return a body with its fields' names as the reference has them; the API takes them with underscores too."""
    if isinstance(value, list):
        return [camel(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    named = ((re.sub(r"(?<=[a-z])_([a-z])", lambda found: found[1].upper(), name), each) for name, each in value.items())
    return {name: each if name in _OPAQUE else camel(each) for name, each in named}


def parse(body: Mapping[str, Any]) -> Ask:
    """Read a request, with ``model`` and ``stream`` put in from its path."""
    ask = Field(camel(body))
    dropped = list(ask.only(_KNOWN, "safetySettings labels serviceTier store"))
    config = Field(ask["generationConfig"].value or {}, "generationConfig")
    config.only(_CONFIG)
    for name, silent in _SILENT.items():
        if config[name].given and config[name].value != silent:
            raise config[name].refused()
    if config["responseModalities"] and [each.upper() for each in config["responseModalities"].texts()] != ["TEXT"]:
        raise config["responseModalities"].refused()
    effort, budget = _thinking(config["thinkingConfig"], dropped)
    system = tuple(_system(ask["systemInstruction"], dropped)) if ask["systemInstruction"] else ()
    contents = _Contents(dropped)
    dialogue = tuple(contents.message(each) for each in ask["contents"].each())
    return Ask(
        model=ask["model"].text().removeprefix("models/"),
        messages=(*([Message("system", system)] if system else []), *dialogue),
        tools=tuple(tool for each in ask["tools"].each() for tool in _tools(each)) if ask["tools"] else (),
        tool_choice=_tool_choice(ask["toolConfig"]),
        max_output=config["maxOutputTokens"].integer(),
        temperature=config["temperature"].number(),
        top_p=config["topP"].number(),
        top_k=config["topK"].integer(),
        stop=config["stopSequences"].texts(),
        stream=ask["stream"].flag(),
        json_schema=_json_schema(config),
        effort=effort,
        thinking_budget=budget,
        dropped=tuple(dropped),
    )


def _system(instruction: Field, dropped: list[str]) -> Iterator[Text]:
    if isinstance(instruction.value, str):
        yield Text(instruction.value)
        return
    dropped += instruction.only("parts", "role")
    for part in instruction["parts"].each():
        part.only("text")
        yield Text(part["text"].text())


def _thinking(config: Field, dropped: list[str]) -> tuple[str | None, int | None]:
    if not config:
        return None, None
    dropped += config.only("thinkingBudget thinkingLevel", "includeThoughts")
    level = config["thinkingLevel"].text("").upper()
    if level and level not in (*_LEVELS, "THINKING_LEVEL_UNSPECIFIED"):
        raise config["thinkingLevel"].refused()
    dynamic = config["thinkingBudget"].value == -1
    return _LEVELS.get(level), None if dynamic else config["thinkingBudget"].integer()


def _json_schema(config: Field) -> Mapping[str, Any] | None:
    kind = config["responseMimeType"].text("text/plain")
    if kind not in ("text/plain", "application/json"):
        raise config["responseMimeType"].refused()
    if config["responseJsonSchema"]:
        return config["responseJsonSchema"].mapping()
    if config["responseSchema"]:
        return json_schema(config["responseSchema"].mapping())
    return {} if kind == "application/json" else None


def _tools(tool: Field) -> Iterator[Tool]:
    tool.only("functionDeclarations")
    for function in tool["functionDeclarations"].each() if tool["functionDeclarations"] else ():
        function.only("name description parameters parametersJsonSchema", "response responseJsonSchema behavior")
        schema: Mapping[str, Any] = {}
        if function["parametersJsonSchema"].given:
            schema = function["parametersJsonSchema"].mapping()
        elif function["parameters"].given:
            schema = json_schema(function["parameters"].mapping())
        yield Tool(function["name"].text(), function["description"].text(""), schema)


def _tool_choice(config: Field) -> str:
    if not config or not config["functionCallingConfig"]:
        return "auto"
    config.only("functionCallingConfig")
    calling = config["functionCallingConfig"]
    calling.only("mode allowedFunctionNames")
    names = calling["allowedFunctionNames"].texts()
    match calling["mode"].text("AUTO").upper():
        case "AUTO" | "VALIDATED" | "MODE_UNSPECIFIED" if not names:
            return "auto"
        case "NONE":
            return "none"
        case "ANY" if len(names) <= 1:
            return names[0] if names else "required"
        case "AUTO" | "VALIDATED" | "ANY" | "MODE_UNSPECIFIED":
            raise calling["allowedFunctionNames"].refused()
        case _:
            raise calling["mode"].refused()


class _Contents:
    """Reads turns. Calls without identities get their number; results without one belong to the first call of their name."""

    def __init__(self, dropped: list[str]) -> None:
        self._dropped = dropped
        self._calls = 0
        self._waiting: dict[str, deque[str]] = {}

    def message(self, content: Field) -> Message:
        content.only("role parts")
        role = content["role"].text("user")
        if role not in ("user", "model", "function"):
            raise content["role"].refused()
        parts = content["parts"].each() if content["parts"] else ()
        return Message("assistant" if role == "model" else "user", tuple(self._part(each) for each in parts))

    def _part(self, part: Field) -> Part:
        left = "videoMetadata mediaResolution partMetadata"
        self._dropped += part.only(f"text thought inlineData functionCall functionResponse {_SEALED}", left)
        seal = part[_SEALED].text("")
        if part["functionCall"]:
            return self._call(part["functionCall"], seal)
        if part["functionResponse"]:
            return self._result(part["functionResponse"])
        if part["inlineData"]:
            return self._image(part["inlineData"])
        if part["thought"].flag():
            return Thinking(part["text"].text(""), seal)
        if seal:
            self._dropped.append(part[_SEALED].path)
        return Text(part["text"].text(""))

    def _image(self, data: Field) -> Image:
        self._dropped += data.only("mimeType data", "displayName")
        if not data["mimeType"].text().startswith("image/"):
            raise data["mimeType"].refused()
        return Image(data["mimeType"].text(), data["data"].text())

    def _call(self, call: Field, seal: str) -> ToolCall:
        call.only("id name args")
        self._calls += 1
        identity, name = call["id"].text("") or f"call_{self._calls}", call["name"].text()
        self._waiting.setdefault(name, deque()).append(identity)
        arguments = call["args"].mapping() if call["args"].given else {}
        return ToolCall(identity, name, json_text(arguments), "" if seal == UNSEALED else seal)

    def _result(self, result: Field) -> ToolResult:
        self._dropped += result.only("id name response parts", "willContinue scheduling")
        name, identity = result["name"].text(), result["id"].text("")
        waiting = self._waiting.get(name)
        if not identity:
            identity = waiting.popleft() if waiting else f"call_{name}"
        elif waiting and waiting[0] == identity:
            waiting.popleft()
        given = result["response"].mapping() if result["response"].given else {}
        images = [self._image(each["inlineData"]) for each in result["parts"].each()] if result["parts"] else []
        text, failed = _shown(given)
        parts: tuple[Text | Image, ...] = (*([Text(text)] if text else []), *images)
        return ToolResult(identity, name, parts, failed)


def _shown(response: Mapping[str, Any]) -> tuple[str, bool]:
    """Return a tool's answer as text and whether it failed, by the keys the API gives a meaning."""
    for key in ("output", "error"):
        if set(response) == {key}:
            value = response[key]
            return value if isinstance(value, str) else json_text(value), key == "error"
    return json_text(response) if response else "", False


def render(ask: Ask) -> dict[str, Any]:
    """Write a request; model and stream stand in the path. That a model must not call tools in parallel cannot be said."""
    if ask.verbosity is not None:
        raise Untranslatable(f"verbosity={ask.verbosity}", "google")
    system, dialogue = split(ask.messages)
    body: dict[str, Any] = {"contents": _contents(dialogue, ask)}
    if system:
        body["systemInstruction"] = {"parts": [{"text": text.text} for text in system]}
    if ask.tools:
        body["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in ask.tools]}]
        calling: dict[str, Any] | None = {"mode": "ANY", "allowedFunctionNames": [ask.tool_choice]}
        match ask.tool_choice:
            case "auto":
                calling = None
            case "none" | "required":
                calling = {"mode": "NONE" if ask.tool_choice == "none" else "ANY"}
        if calling:
            body["toolConfig"] = {"functionCallingConfig": calling}
    config = {
        "maxOutputTokens": ask.max_output,
        "temperature": ask.temperature,
        "topP": ask.top_p,
        "topK": ask.top_k,
        "stopSequences": list(ask.stop) or None,
        "responseMimeType": None if ask.json_schema is None else "application/json",
        "responseJsonSchema": dict(ask.json_schema) if ask.json_schema else None,
        "thinkingConfig": _rendered_thinking(ask),
    }
    if told := {name: value for name, value in config.items() if value is not None}:
        body["generationConfig"] = told
    return body


def _rendered_thinking(ask: Ask) -> dict[str, Any] | None:
    if ask.effort == "none":
        return {"thinkingBudget": 0}
    if ask.effort is not None:
        return {"thinkingLevel": {word: level for level, word in _LEVELS.items()}.get(ask.effort, "HIGH")}
    return None if ask.thinking_budget is None else {"thinkingBudget": ask.thinking_budget}


def _declaration(tool: Tool) -> dict[str, Any]:
    schema, description = shown_schema(tool)
    return {"name": tool.name, "description": description} | ({"parametersJsonSchema": schema} if schema else {})


def _contents(messages: Iterable[Message], ask: Ask) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = "model" if message.role == "assistant" else "user"
        parts = [
            part
            for each in sorted(message.parts, key=lambda each: not isinstance(each, ToolResult))
            for part in _rendered(each, ask)
        ]
        if role == "model":
            _sealed(parts)
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"] += parts
        elif parts:
            turns.append({"role": role, "parts": parts})
    return turns


def _sealed(parts: list[dict[str, Any]]) -> None:
    """Only the first call of a step carries a seal, and newer models insist on it."""
    calls = [part for part in parts if "functionCall" in part]
    if calls and not any(_SEALED in part for part in calls):
        calls[0][_SEALED] = UNSEALED


def _rendered(part: Part, ask: Ask) -> Iterator[dict[str, Any]]:
    match part:
        case Text():
            yield {"text": part.text}
        case Image():
            yield {"inlineData": {"mimeType": part.media_type, "data": part.data}}
        case Thinking() if part.text and not part.hidden:
            yield {"text": part.text, "thought": True} | ({_SEALED: part.signature} if part.signature else {})
        case ToolCall():
            arguments = object_of(json_arguments(part, ask))
            call = {"functionCall": {"id": part.id, "name": part.name, "args": arguments}}
            yield call | ({_SEALED: part.signature} if part.signature else {})
        case ToolResult():
            text = "\n".join(each.text for each in part.parts if isinstance(each, Text))
            response = {"error" if part.is_error else "output": text}
            name = part.name or ask.called.get(part.id, "tool")
            yield {"functionResponse": {"id": part.id, "name": name, "response": response}}
            for each in part.parts:
                if isinstance(each, Image):
                    yield {"inlineData": {"mimeType": each.media_type, "data": each.data}}


def capped(body: Mapping[str, Any], max_output: int | None) -> dict[str, Any]:
    """Return a body with the cap; what stands in the path is taken out."""
    out = {name: value for name, value in body.items() if name not in ("model", "stream")}
    if max_output is None:
        return out
    key = "generation_config" if "generation_config" in out else "generationConfig"
    config = dict(Field(out.get(key) or {}, key).mapping())
    cap = "max_output_tokens" if "max_output_tokens" in config else "maxOutputTokens"
    asked, most = Field(config.get(cap), f"{key}.{cap}").integer(), max_output // choices(body)
    config[cap] = most if asked is None else min(asked, most)
    return out | {key: config}


def choices(body: Mapping[str, Any]) -> int:
    """Return how many answers a body asks for."""
    config = Field(camel(body.get("generationConfig") or body.get("generation_config") or {}), "generationConfig")
    return config["candidateCount"].integer() or 1


def asked_output(body: Mapping[str, Any]) -> int | None:
    """Return the tokens of all answers together."""
    config = Field(camel(body.get("generationConfig") or body.get("generation_config") or {}), "generationConfig")
    cap = config["maxOutputTokens"].integer()
    return None if cap is None else cap * choices(body)
