"""OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.gateway.dialogue import Ask, Failure, Reply
from harness.gateway.formats import errors
from harness.gateway.formats.base import Decoder, Encoder, Filter, Meter
from harness.gateway.formats.chat import reply as replies
from harness.gateway.formats.chat import request as requests
from harness.gateway.formats.chat.stream import ChatDecoder, ChatEncoder, UsageHidden
from harness.gateway.formats.pieces import StreamMeter, WholeMeter
from harness.spec.backbone import FormatName


class Chat:
    """The format of most servers."""

    name: FormatName = "chat"

    def parse(self, body: Mapping[str, Any]) -> Ask:
        """Read a request."""
        return requests.parse(body)

    def render(self, ask: Ask) -> dict[str, Any]:
        """Write a request."""
        return requests.render(ask)

    def capped(self, body: Mapping[str, Any], model: str, max_output: int | None) -> dict[str, Any]:
        """Return a body that passes through; streams are asked for their usage (`filter` hides it again)."""
        return requests.capped(body, model, max_output)

    def asked_output(self, body: Mapping[str, Any]) -> int | None:
        """Return the tokens of all choices together."""
        return requests.asked_output(body)

    def parse_reply(self, body: Mapping[str, Any]) -> Reply:
        """Read a whole answer."""
        return replies.parse_reply(body)

    def render_reply(self, reply: Reply, ask: Ask) -> dict[str, Any]:
        """Write a whole answer."""
        return replies.render_reply(reply, ask)

    def decoder(self) -> Decoder:
        """Return a reader for one stream."""
        return ChatDecoder()

    def encoder(self, ask: Ask) -> Encoder:
        """Return a writer for one stream."""
        return ChatEncoder(ask)

    def meter(self, streamed: bool) -> Meter:
        """Return a watcher for one answer."""
        return StreamMeter(ChatDecoder()) if streamed else WholeMeter(self.parse_reply)

    def filter(self, body: Mapping[str, Any]) -> Filter | None:
        """Return what hides the chunk of usage from a client that did not ask for it."""
        options = body.get("stream_options")
        asked = isinstance(options, Mapping) and options.get("include_usage") is True
        return UsageHidden() if body.get("stream") is True and not asked else None

    def failure(self, failure: Failure) -> tuple[int, dict[str, Any]]:
        """Return status and body of an error."""
        return errors.openai_error(failure)

    def read_failure(self, status: int, body: bytes) -> Failure:
        """Read an upstream's error."""
        return errors.read_failure(status, body)

    def models(self, names: Iterable[str]) -> dict[str, Any]:
        """Write the list of models."""
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "dojo"} for name in names]
        return {"object": "list", "data": listed}

    def count(self, tokens: int) -> dict[str, Any]:
        """Write a count of tokens, as the responses API has it; chat completions have none."""
        return {"object": "response.input_tokens", "input_tokens": tokens}


CHAT = Chat()
