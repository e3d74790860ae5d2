"""OpenAI's responses API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.gateway.dialogue import Ask, Failure, Reply
from harness.gateway.formats import errors
from harness.gateway.formats.base import Decoder, Encoder, Filter, Meter
from harness.gateway.formats.fields import Field
from harness.gateway.formats.pieces import StreamMeter, WholeMeter
from harness.gateway.formats.responses import reply as replies
from harness.gateway.formats.responses import request as requests
from harness.gateway.formats.responses.decoder import ResponsesDecoder
from harness.gateway.formats.responses.encoder import ResponsesEncoder
from harness.spec.backbone import FormatName


class Responses:
    """The format of Codex."""

    name: FormatName = "responses"

    def parse(self, body: Mapping[str, Any]) -> Ask:
        """Read a request."""
        return requests.parse(body)

    def render(self, ask: Ask) -> dict[str, Any]:
        """Write a request."""
        return requests.render(ask)

    def capped(self, body: Mapping[str, Any], model: str, max_output: int | None) -> dict[str, Any]:
        """Return a body that passes through."""
        return requests.capped(body, model, max_output)

    def asked_output(self, body: Mapping[str, Any]) -> int | None:
        """Return the tokens of answer a body asks for at most."""
        return Field(body)["max_output_tokens"].integer()

    def parse_reply(self, body: Mapping[str, Any]) -> Reply:
        """Read a whole answer."""
        return replies.parse_reply(body)

    def render_reply(self, reply: Reply, ask: Ask) -> dict[str, Any]:
        """Write a whole answer."""
        return replies.render_reply(reply, ask)

    def decoder(self) -> Decoder:
        """Return a reader for one stream."""
        return ResponsesDecoder()

    def encoder(self, ask: Ask) -> Encoder:
        """Return a writer for one stream."""
        return ResponsesEncoder(ask)

    def meter(self, streamed: bool) -> Meter:
        """Return a watcher for one answer."""
        return StreamMeter(ResponsesDecoder()) if streamed else WholeMeter(self.parse_reply)

    def filter(self, body: Mapping[str, Any]) -> Filter | None:
        """Return nothing: usage comes unasked."""
        return None

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
        """Write a count of tokens."""
        return {"object": "response.input_tokens", "input_tokens": tokens}


RESPONSES = Responses()
