"""Calls of the gateway's recording as turns: what was asked, what was answered, what it cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from harness.gateway.dialogue import (
    Ask,
    Image,
    Malformed,
    Message,
    Part,
    Reply,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Untranslatable,
)
from harness.gateway.recording import Exchange
from harness.spec.event import LlmCalled


@dataclass(frozen=True)
class Turn:
    """One call. ``ask`` is None where what was asked cannot be read; ``reply`` where there was no answer.

    ``called`` is what the ledger says of it: None where the harness was killed before the call was settled.
    """

    call: int
    asked: datetime
    ask: Ask | None
    reply: Reply | None
    status: int = 200
    format: str = ""
    called: LlmCalled | None = None

    @property
    def answered(self) -> datetime:
        """When the last byte of the answer had come."""
        return self.asked + timedelta(seconds=self.called.latency_s if self.called else 0.0)


def turns(exchanges: Iterable[Exchange], called: Mapping[int, LlmCalled]) -> Iterator[Turn]:
    """Read a recording's calls; one that cannot be read is a turn without ``ask``."""
    from harness.gateway.formats import FORMATS  # only runs with a backbone need them

    for exchange in exchanges:
        try:
            format_ = FORMATS[exchange.format]
            ask = format_.parse({"model": "", "stream": exchange.stream, **exchange.body})  # Google's stand in the path
        except (Malformed, Untranslatable, ValueError, TypeError, KeyError, AttributeError):
            ask = None  # the agent's own mistake, or a body that is damaged on disk: the answer still tells
        yield Turn(exchange.call, exchange.time, ask, exchange.reply, exchange.status, exchange.format, called.get(exchange.call))


def part_id(part: Part) -> str:
    """Return what makes a part the same in another request: agents send their histories again, not always byte by byte."""
    match part:
        case Text(text):
            said = ["text", text.strip()]
        case Image(media_type, data):
            said = ["image", media_type, data]
        case Thinking():
            return ""  # providers and agents drop it at will
        case ToolCall(call_id, name, arguments):
            said = ["call", call_id or arguments, name]
        case ToolResult(call_id, name, parts):
            # by its call alone: agents clear the content of old results
            said = ["result", call_id or json.dumps([part_id(inner) for inner in parts]), name if not call_id else ""]
    return hashlib.blake2b(json.dumps(said).encode(), digest_size=12).hexdigest()


def message_id(message: Message) -> str:
    """Return what makes a message the same in another request."""
    return f"{message.role}:{'.'.join(found for part in message.parts if (found := part_id(part)))}"


def text_of(parts: Iterable[Part]) -> str:
    """Return what a person would read of some parts; images are named."""
    said = []
    for part in parts:
        match part:
            case Text(text):
                said.append(text)
            case Image(media_type, data):
                said.append(f"[image {media_type}, {len(data) * 3 // 4:,} bytes]")
    return "\n".join(said)


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """Return a tool call's arguments as an object; text that is none stands under ``input``."""
    try:
        found = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        found = call.arguments
    return found if isinstance(found, dict) else {"input": found}
