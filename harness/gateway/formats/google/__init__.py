"""Google's generateContent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.gateway.dialogue import Ask, Failure, Reply
from harness.gateway.formats import errors
from harness.gateway.formats.base import Decoder, Encoder, Filter, Meter
from harness.gateway.formats.google import reply as replies
from harness.gateway.formats.google import request as requests
from harness.gateway.formats.google.stream import GoogleDecoder, GoogleEncoder
from harness.gateway.formats.pieces import StreamMeter, WholeMeter
from harness.spec.backbone import FormatName


class Google:
    """The format of Gemini's clients."""

    name: FormatName = "google"

    def parse(self, body: Mapping[str, Any]) -> Ask:
        """Read a request."""
        return requests.parse(body)

    def render(self, ask: Ask) -> dict[str, Any]:
        """Write a request."""
        return requests.render(ask)

    def capped(self, body: Mapping[str, Any], model: str, max_output: int | None) -> dict[str, Any]:
        """Return a body that passes through; the model and whether it streams stand in the path."""
        return requests.capped(body, max_output)

    def asked_output(self, body: Mapping[str, Any]) -> int | None:
        """Return the tokens of all candidates together."""
        return requests.asked_output(body)

    def parse_reply(self, body: Mapping[str, Any]) -> Reply:
        """Read a whole answer."""
        return replies.parse_reply(body)

    def render_reply(self, reply: Reply, ask: Ask) -> dict[str, Any]:
        """Write a whole answer."""
        return replies.render_reply(reply, ask)

    def decoder(self) -> Decoder:
        """Return a reader for one stream."""
        return GoogleDecoder()

    def encoder(self, ask: Ask) -> Encoder:
        """Return a writer for one stream."""
        return GoogleEncoder(ask)

    def meter(self, streamed: bool) -> Meter:
        """Return a watcher for one answer."""
        return StreamMeter(GoogleDecoder()) if streamed else WholeMeter(self.parse_reply)

    def filter(self, body: Mapping[str, Any]) -> Filter | None:
        """Return nothing: usage comes unasked."""
        return None

    def failure(self, failure: Failure) -> tuple[int, dict[str, Any]]:
        """Return status and body of an error."""
        return errors.google_error(failure)

    def read_failure(self, status: int, body: bytes) -> Failure:
        """Read an upstream's error."""
        return errors.read_failure(status, body)

    def models(self, names: Iterable[str]) -> dict[str, Any]:
        """Write the list of models."""
        return {"models": [_model(name) for name in names]}

    def count(self, tokens: int) -> dict[str, Any]:
        """Write a count of tokens."""
        return {"totalTokens": tokens}


def _model(name: str) -> dict[str, Any]:
    methods = ["generateContent", "streamGenerateContent", "countTokens"]
    return {"name": f"models/{name}", "version": "1", "displayName": name, "supportedGenerationMethods": methods}


GOOGLE = Google()
