"""OpenAI's responses API: the format of Codex."""

from __future__ import annotations

from harness.gateway.formats import listing
from harness.gateway.formats.base import WireFormat
from harness.gateway.formats.errors import openai_error
from harness.gateway.formats.fields import Field
from harness.gateway.formats.responses import reply, request
from harness.gateway.formats.responses.decoder import ResponsesDecoder
from harness.gateway.formats.responses.encoder import ResponsesEncoder

RESPONSES = WireFormat(
    "responses",
    parse=request.parse,
    render=request.render,
    capped=request.capped,
    asked_output=lambda body: Field(body)["max_output_tokens"].integer(),
    parse_reply=reply.parse_reply,
    render_reply=reply.render_reply,
    decoder=ResponsesDecoder,
    encoder=ResponsesEncoder,
    failure=openai_error,
    models=listing.openai_models,
    count=listing.openai_count,
)
