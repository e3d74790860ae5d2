"""OpenAI's chat completions: the format of most servers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.gateway.formats import listing
from harness.gateway.formats.base import Filter, WireFormat
from harness.gateway.formats.chat import reply, request
from harness.gateway.formats.chat.stream import ChatDecoder, ChatEncoder, UsageHidden
from harness.gateway.formats.errors import openai_error


def _hidden(body: Mapping[str, Any]) -> Filter | None:
    """Return what hides the chunk of usage from a client that did not ask for it."""
    options = body.get("stream_options")
    asked = isinstance(options, Mapping) and options.get("include_usage") is True
    return UsageHidden() if body.get("stream") is True and not asked else None


CHAT = WireFormat(
    "chat",
    parse=request.parse,
    render=request.render,
    capped=request.capped,
    asked_output=request.asked_output,
    parse_reply=reply.parse_reply,
    render_reply=reply.render_reply,
    decoder=ChatDecoder,
    encoder=ChatEncoder,
    failure=openai_error,
    models=listing.openai_models,
    count=listing.openai_count,
    filter=_hidden,
)
