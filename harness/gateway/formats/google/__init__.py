"""Google's generateContent: the format of Gemini's clients."""

from __future__ import annotations

from harness.gateway.formats import listing
from harness.gateway.formats.base import WireFormat
from harness.gateway.formats.errors import google_error
from harness.gateway.formats.google import reply, request
from harness.gateway.formats.google.stream import GoogleDecoder, GoogleEncoder

GOOGLE = WireFormat(
    "google",
    parse=request.parse,
    render=request.render,
    capped=lambda body, model, most: request.capped(body, most),  # the model stands in the path
    asked_output=request.asked_output,
    parse_reply=reply.parse_reply,
    render_reply=reply.render_reply,
    decoder=GoogleDecoder,
    encoder=GoogleEncoder,
    failure=google_error,
    models=listing.google_models,
    count=lambda tokens: {"totalTokens": tokens},
)
