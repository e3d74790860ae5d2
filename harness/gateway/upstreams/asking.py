"""One small call, for looking whether an upstream works: what probes and `dojo backbones check` send."""

from __future__ import annotations

import json

from harness.gateway.dialogue import Ask, Malformed, Message, Reply, Text
from harness.gateway.formats import FORMATS
from harness.gateway.upstreams.base import Answer, Call, Upstream, UpstreamFailed
from harness.spec.backbone import FormatName

SMALL_ANSWER = 16
"""Tokens: the least that OpenAI's responses take as a cap; a model that thinks first may well say nothing within them."""

_WHOLE = 4 << 20
"""Bytes of an answer that are read at most: a server that answers sixteen tokens with more than this is none."""


def small_call(format: FormatName, model: str, *, stream: bool = False, text: str = "Say ok.") -> Call:
    """Return a call that costs next to nothing. Its number is 0: it is none of a run's."""
    ask = Ask(model, (Message("user", (Text(text),)),), max_output=SMALL_ANSWER, stream=stream)
    body = FORMATS[format].render(ask)
    if format == "google":
        body = {name: value for name, value in body.items() if name not in ("model", "stream")}
    return Call(0, format, model, body, stream, "", {})


async def whole(answer: Answer) -> bytes:
    """Read an answer to its end.

    Raises:
        UpstreamFailed: it broke off.
    """
    data = bytearray()
    try:
        async for piece in answer.body:
            data += piece
            if len(data) > _WHOLE:
                raise UpstreamFailed("broken", f"the answer to a call for {SMALL_ANSWER} tokens is longer than {_WHOLE} bytes")
    finally:
        await answer.aclose()
    return bytes(data)


async def ask(upstream: Upstream, call: Call) -> Reply:
    """Send a call and read its answer.

    Raises:
        UpstreamFailed: there is none, or it is not of the call's format.
    """
    form = FORMATS[call.format]
    data = await whole(await upstream.send(call))
    try:
        if not call.stream:
            return form.parse_reply(json.loads(data))
        decoder = form.decoder()
        decoder.feed(data)
        decoder.end()
    except (ValueError, RecursionError, Malformed) as exc:
        quoted = data[:200].decode("utf-8", "replace")
        message = f"the answer is none of format {call.format} ({exc}): {quoted!r}"
        raise UpstreamFailed("broken", message, body=data[:1000]) from exc
    meter = form.meter(streamed=True)
    meter.feed(data)
    return meter.reply()
