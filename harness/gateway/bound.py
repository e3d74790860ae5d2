"""How many tokens a prompt has at most, without its model's tokenizer: bytes bound them, and what the upstream counted before."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.gateway.recording import canonical_json
from harness.spec.backbone import FormatName

HISTORY: Mapping[FormatName, str] = {"chat": "messages", "responses": "input", "messages": "messages", "google": "contents"}
"""Where a request's turns stand."""

# Special tokens and line breaks that a chat template writes around a turn; what it writes once (a system prompt of its own, the
# preamble of tools) is bounded by the two after it: Anthropic's own for tools has some 500 tokens, of templates Hermes' some 200.
_TURN, _ONCE, _TOOLS = 16, 256, 2048
# The dearest image known to us (a vision model that takes 4k pixels whole) has some 16,000 tokens.
_IMAGE = 16_384
# Templates write calls and schemas as JSON of their own: indented, with escapes of up to six bytes for a character.
_WRITTEN_ANEW = 3
# Bytes of text for each token, about, for answers to who asks how long a prompt is.
_USUAL = 3.5
# Ends of conversations whose length the upstream told; side conversations are few.
_REMEMBERED = 512
_CALLS = (b'"tool_calls"', b'"tool_use"', b'"function_call', b'"functionCall"', b'"function_response"', b'"functionResponse"')
# Inside these an object that looks like an image is text of a tool call or its schema.
_TEXTUAL = frozenset({"args", "arguments", "functionCall", "function_call", "response", "parameters", "input_schema", "schema"})
_APART = "image"


@dataclass(frozen=True)
class Measured:
    """A request's size.

    Attributes:
        bound: tokens of the prompt at most.
        about: tokens of the prompt, estimated.
        text: bytes of the request without its images.
        images: how many.
        key: of the whole conversation, under which its true length is remembered.
    """

    bound: int
    about: int
    text: int
    images: int
    key: bytes


class PromptBounds:
    """Measures prompts. A token is at least a byte for every byte-level tokenizer, so bytes bound tokens.

    That is four times too much for English, so what the upstream reported for a conversation is remembered: of one that goes on
    from there only the new turns are bounded by bytes (turns are split at special tokens, so lengths add up).
    """

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, int] = OrderedDict()

    def measure(self, format: FormatName, body: Mapping[str, Any]) -> Measured:
        """Return the size of a request."""
        name = HISTORY[format]
        turns = body.get(name)
        turns = turns if isinstance(turns, list) else [] if turns is None else [turns]
        head = {key: value for key, value in body.items() if key not in (name, "model", "stream", "stream_options")}
        written = canonical_json(head)
        key = hashlib.sha256(written).digest()
        tools = 0
        if body.get("tools") or body.get("functions"):
            tools = _TOOLS + _WRITTEN_ANEW * len(json.dumps(body.get("tools") or body.get("functions")))
        text, images = len(written), 0
        bound, about = _ONCE + len(written) + tools, len(written) / _USUAL
        for turn in turns:
            apart, found = _without_images(turn)
            written = canonical_json(apart)
            key = hashlib.sha256(key + (hashlib.sha256(canonical_json(turn)).digest() if found else written)).digest()
            text, images = text + len(written), images + found
            known = self._known.get(key)
            if known is not None:
                bound, about = known + _ONCE, known
                continue
            size = len(written)
            if any(mark in written for mark in _CALLS):
                size = _WRITTEN_ANEW * len(json.dumps(apart))
            bound += size + _TURN + found * _IMAGE
            about += len(written) / _USUAL + found * 1000
        return Measured(bound, max(1, round(about)), text, images, key)

    def learn(self, measured: Measured, tokens: int | None) -> None:
        """Remember what the upstream counted for a request."""
        if tokens:
            self._known[measured.key] = tokens
            self._known.move_to_end(measured.key)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


def _without_images(value: Any) -> tuple[Any, int]:
    """Return a turn without the data of its inline images, and how many there were."""
    if isinstance(value, list):
        found = [_without_images(part) for part in value]
        count = sum(each for _, each in found)
        return ([part for part, _ in found] if count else value), count
    if not isinstance(value, Mapping):
        return value, 0
    if _is_image(value):
        return {"type": _APART}, 1
    textual = _TEXTUAL | {"input"} if value.get("type") in ("tool_use", "custom_tool_call") else _TEXTUAL
    kept, count = {}, 0
    for key, part in value.items():
        kept[key], each = (part, 0) if key in textual else _without_images(part)
        count += each
    return (kept if count else value), count


def _is_image(part: Mapping[str, Any]) -> bool:
    kind = part.get("type")
    if kind == "image_url":
        address = part.get("image_url")
        return _is_data(address.get("url") if isinstance(address, Mapping) else address)
    if kind == "input_image":
        return _is_data(part.get("image_url"))
    if kind == "image":
        source = part.get("source")
        return isinstance(source, Mapping) and source.get("type") == "base64"
    inline = part.get("inlineData", part.get("inline_data"))
    return isinstance(inline, Mapping)


def _is_data(address: Any) -> bool:
    return isinstance(address, str) and address.startswith("data:image/")
