"""What agents may ask of a provider: answers made of what they send. Powers that work at the provider are refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.spec.backbone import FormatName

# Answers to one call at most.
MOST_CHOICES = 8

# Fields that say who asks; nobody upstream is told.
_SCRUBBED: Mapping[FormatName, tuple[str, ...]] = {
    "chat": ("metadata", "user", "safety_identifier", "client_metadata"),
    "responses": ("metadata", "user", "safety_identifier", "client_metadata"),
    "messages": ("metadata", "user_profile_id"),
    "google": ("labels",),
}

# Values of anthropic-beta that pass: none reaches beyond the model, costs more or keeps anything at the provider.
_BETAS = (
    "claude-code-",
    "interleaved-thinking-",
    "fine-grained-tool-streaming-",
    "prompt-caching-",
    "token-efficient-tools-",
    "output-128k-",
    "context-management-",
    "structured-outputs-",
    "effort-",
    "prompt-caching-scope-",
    "tool-examples-",
)
_PLAIN_TIERS = (None, "auto", "default", "flex", "standard", "standard_only")


@dataclass(frozen=True)
class Refused:
    """A power that was asked for; ``field`` is where, ``power`` its name, by which a task may grant it."""

    field: str
    power: str

    @property
    def message(self) -> str:
        """Return a sentence for the agent."""
        return f"{self.field} asks for {self.power}, which works at the provider and is not granted in this run"


Found = Iterator[tuple[str, str]]


def refusal(format: FormatName, body: Mapping[str, Any], grants: Collection[str] = ()) -> Refused | None:
    """Return the first thing in a request that is not allowed, or None."""
    for place, power in _CHECKS[format](body):
        if power not in grants:
            return Refused(place[:200], power[:100])
    return None


def scrubbed(format: FormatName, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request without what says who asks, and so that the provider keeps nothing where it would by default."""
    kept = {name: value for name, value in body.items() if name not in _SCRUBBED[format]}
    if format == "responses":
        kept["store"] = False
    return kept


def headers_kept(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the client's headers that go upstream: the version of Anthropic's API and the betas that are harmless."""
    kept = {}
    if version := headers.get("anthropic-version", "")[:40]:
        kept["anthropic-version"] = version
    betas = [beta.strip() for beta in headers.get("anthropic-beta", "")[:4000].split(",")]
    if harmless := [beta for beta in betas if beta.startswith(_BETAS) and beta.isascii() and beta.isprintable()]:
        kept["anthropic-beta"] = ",".join(harmless)
    return kept


def _chat(body: Mapping[str, Any]) -> Found:
    yield from _given(body, "web_search_options", "web search")
    yield from _given(body, "audio", "audio")
    yield from _given(body, "kv_transfer_params", "another server")
    yield from _given(body, "use_beam_search", "unmetered answers")
    yield from _given(body, "best_of", "unmetered answers")
    yield from _true(body, "store", "stored talks")
    yield from _tier(body, "service_tier")
    yield from _many(body.get("n"), "n")
    for output in _texts(body.get("modalities")):
        if output != "text":
            yield "modalities", f"{output} output"
    yield from _tools(body.get("tools"), ("function", "custom"), "tools")
    for at, part in _walk(body.get("messages"), "messages"):
        kind = part.get("type")
        if kind == "image_url":
            image = part.get("image_url")
            yield from _inline(image.get("url") if isinstance(image, Mapping) else image, f"{at}.image_url.url")
        elif kind in ("file", "input_audio", "audio_url", "video_url", "video", "input_file", "image_embeds", "audio_embeds"):
            yield f"{at}.type={kind}", "files"
        yield from _given(part, "file_id", "files", at)


def _responses(body: Mapping[str, Any]) -> Found:
    yield from _true(body, "background", "background work")
    yield from _true(body, "store", "stored talks")
    yield from _given(body, "previous_response_id", "stored talks")
    yield from _given(body, "conversation", "stored talks")
    yield from _given(body, "prompt", "stored prompts")
    yield from _given(body, "kv_transfer_params", "another server")
    yield from _tier(body, "service_tier")
    yield from _many(body.get("n"), "n")
    local = ("function", "custom", "local_shell", "shell", "apply_patch", "computer_use_preview", "computer", "namespace")
    yield from _tools(body.get("tools"), local, "tools")
    for at, part in _walk(body.get("input"), "input"):
        kind = part.get("type")
        if kind == "additional_tools":  # tools that join in the middle of a dialogue
            yield from _tools(part.get("tools"), local, f"{at}.tools")
        if kind == "input_image":
            yield from _given(part, "file_id", "files", at)
            yield from _inline(part.get("image_url"), f"{at}.image_url")
        elif kind in ("input_file", "input_audio", "input_video"):
            yield f"{at}.type={kind}", "files"
        elif kind == "item_reference" or ("type" not in part and set(part) == {"id"}):
            yield f"{at}.type=item_reference", "stored talks"
        elif kind == "image_url":
            yield from _inline(part.get("image_url"), f"{at}.image_url")
        yield from _given(part, "file_id", "files", at)
        yield from _given(part, "file_url", "remote addresses", at)


def _messages(body: Mapping[str, Any]) -> Found:
    yield from _given(body, "container", "containers")
    yield from _given(body, "mcp_servers", "MCP servers")
    yield from _given(body, "inference_geo", "dearer tiers")
    yield from _given(body, "fallbacks", "other models")
    if body.get("speed") not in (None, "standard"):
        yield "speed", "dearer tiers"
    yield from _tier(body, "service_tier")
    tools = body.get("tools")
    for number, tool in enumerate(tools if isinstance(tools, list) else ()):
        kind = tool.get("type") if isinstance(tool, Mapping) else None
        if isinstance(kind, str) and not kind.startswith(("bash_", "text_editor_", "computer_", "memory_")) and kind != "custom":
            yield f"tools[{number}].type={kind}", _power(kind)
    for name in ("system", "messages"):
        for at, part in _walk(body.get(name), name):
            if part.get("type") == "container_upload":
                yield f"{at}.type=container_upload", "files"
            source = part.get("source")
            if isinstance(source, Mapping):
                kind = source.get("type")
                if kind == "url":
                    yield f"{at}.source.type=url", "remote addresses"
                elif kind == "file":
                    yield f"{at}.source.type=file", "files"
                elif part.get("type") == "document" and kind == "base64":
                    yield f"{at}.type=document", "files"
            control = part.get("cache_control")
            if isinstance(control, Mapping) and control.get("ttl") not in (None, "5m"):
                yield f"{at}.cache_control.ttl", "dearer tiers"


def _google(body: Mapping[str, Any]) -> Found:
    for name, value in body.items():
        plain = _flat(name)
        if plain == "cachedcontent" and value:
            yield name, "stored contents"
        elif plain == "servicetier" and str(value).lower() not in ("standard", "flex", "none"):
            yield name, "dearer tiers"
        elif plain == "store" and value:
            yield name, "stored talks"
        elif plain == "tools":
            for number, tool in enumerate(value if isinstance(value, list) else [value]):
                for power in tool if isinstance(tool, Mapping) else ():
                    if _flat(power) != "functiondeclarations":
                        yield f"{name}[{number}].{power}", _power(_flat(power))
        elif plain == "generationconfig" and isinstance(value, Mapping):
            for field, said in value.items():
                if _flat(field) == "candidatecount":
                    yield from _many(said, f"{name}.{field}")
                elif _flat(field) == "responsemodalities":
                    for kind in _texts(said):
                        if kind.lower() != "text":
                            yield f"{name}.{field}", f"{kind.lower()} output"
                elif _flat(field) in ("speechconfig", "imageconfig"):
                    yield f"{name}.{field}", f"{_flat(field).removesuffix('config')} output"
    for name in ("contents", "systemInstruction", "system_instruction"):
        for at, part in _walk(body.get(name), name):
            for field, said in part.items():
                if _flat(field) == "filedata":
                    yield f"{at}.{field}", "files"
                elif _flat(field) == "inlinedata" and isinstance(said, Mapping):
                    media = str(said.get("mimeType", said.get("mime_type", "")))
                    if not media.startswith("image/"):
                        yield f"{at}.{field}", "files"


_CHECKS: Mapping[FormatName, Callable[[Mapping[str, Any]], Found]] = {
    "chat": _chat,
    "responses": _responses,
    "messages": _messages,
    "google": _google,
}

# What a tool that works at the provider is called in refusals, by the beginning of its type.
_POWERS = (
    ("web_search", "web search"),
    ("web_fetch", "remote addresses"),
    ("googlesearch", "web search"),
    ("enterprisewebsearch", "web search"),
    ("urlcontext", "remote addresses"),
    ("code_", "code execution"),
    ("codeexecution", "code execution"),
    ("file", "file search"),
    ("mcp", "MCP servers"),
    ("image_generation", "image output"),
    ("computer", "computer use"),
    ("shell", "containers"),
)


def _power(kind: str) -> str:
    return next((power for start, power in _POWERS if kind.startswith(start)), f"the tool {kind}")


def _flat(name: str) -> str:
    """Google's names are read in both spellings."""
    return name.replace("_", "").lower()


def _tools(tools: Any, local: tuple[str, ...], place: str) -> Found:
    for number, tool in enumerate(tools if isinstance(tools, list) else ()):
        kind = tool.get("type") if isinstance(tool, Mapping) else None
        if not isinstance(kind, str):
            continue  # malformed: the format says so
        if kind not in local:
            yield f"{place}[{number}].type={kind}", _power(kind)
        elif kind == "shell" and (environment := tool.get("environment")):
            if not isinstance(environment, Mapping) or environment.get("type") != "local":
                yield f"{place}[{number}].environment", "containers"
        elif kind == "namespace":
            yield from _tools(tool.get("tools"), local, f"{place}[{number}].tools")


def _given(body: Mapping[str, Any], name: str, power: str, place: str = "") -> Found:
    if body.get(name) not in (None, False, [], {}):
        yield f"{place}.{name}" if place else name, power


def _true(body: Mapping[str, Any], name: str, power: str) -> Found:
    if body.get(name):
        yield name, power


def _tier(body: Mapping[str, Any], name: str) -> Found:
    if body.get(name) not in _PLAIN_TIERS:
        yield f"{name}={str(body[name])[:40]}", "dearer tiers"


def _many(said: Any, place: str) -> Found:
    if isinstance(said, int | float) and said > MOST_CHOICES:
        yield f"{place}={said:g}", f"more than {MOST_CHOICES} answers to one call"


def _inline(address: Any, place: str) -> Found:
    if isinstance(address, str) and not address.startswith("data:"):
        yield place, "remote addresses"


def _texts(value: Any) -> list[str]:
    return [part for part in value if isinstance(part, str)] if isinstance(value, list) else []


# Inside these stands what the model or the agent wrote as data: nothing there is an order to the provider.
_DATA = frozenset({"arguments", "args", "parameters", "input_schema", "schema", "response"})


def _walk(value: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every object within turns, with its place."""
    if isinstance(value, list):
        for number, part in enumerate(value):
            yield from _walk(part, f"{place}[{number}]")
    elif isinstance(value, Mapping):
        yield place, value
        for name, part in value.items():
            if isinstance(part, list | dict) and name not in _DATA and not (name == "input" and "name" in value):
                yield from _walk(part, f"{place}.{name}")
