"""Anthropic's messages API: the format of Claude's clients."""

from __future__ import annotations

from harness.gateway.formats import listing
from harness.gateway.formats.base import WireFormat
from harness.gateway.formats.errors import anthropic_error
from harness.gateway.formats.fields import Field
from harness.gateway.formats.messages import reply, request
from harness.gateway.formats.messages.stream import MessagesDecoder, MessagesEncoder

MESSAGES = WireFormat(
    "messages",
    parse=request.parse,
    render=request.render,
    capped=request.capped,
    asked_output=lambda body: Field(body)["max_tokens"].integer(),
    parse_reply=reply.parse_reply,
    render_reply=reply.render_reply,
    decoder=MessagesDecoder,
    encoder=MessagesEncoder,
    failure=anthropic_error,
    models=listing.anthropic_models,
    count=lambda tokens: {"input_tokens": tokens},
)
