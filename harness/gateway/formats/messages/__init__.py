"""Anthropic's messages API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.gateway.dialogue import Ask, Failure, Reply
from harness.gateway.formats import errors
from harness.gateway.formats.base import Decoder, Encoder, Filter, Meter
from harness.gateway.formats.fields import Field
from harness.gateway.formats.messages import reply as replies
from harness.gateway.formats.messages import request as requests
from harness.gateway.formats.messages.stream import MessagesDecoder, MessagesEncoder
from harness.gateway.formats.pieces import StreamMeter, WholeMeter
from harness.spec.backbone import FormatName


class Messages:
    """The format of Claude's clients."""

    name: FormatName = "messages"

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
        return Field(body)["max_tokens"].integer()

    def parse_reply(self, body: Mapping[str, Any]) -> Reply:
        """Read a whole answer."""
        return replies.parse_reply(body)

    def render_reply(self, reply: Reply, ask: Ask) -> dict[str, Any]:
        """Write a whole answer."""
        return replies.render_reply(reply, ask)

    def decoder(self) -> Decoder:
        """Return a reader for one stream."""
        return MessagesDecoder()

    def encoder(self, ask: Ask) -> Encoder:
        """Return a writer for one stream."""
        return MessagesEncoder(ask)

    def meter(self, streamed: bool) -> Meter:
        """Return a watcher for one answer."""
        return StreamMeter(MessagesDecoder()) if streamed else WholeMeter(self.parse_reply)

    def filter(self, body: Mapping[str, Any]) -> Filter | None:
        """Return nothing: usage comes unasked."""
        return None

    def failure(self, failure: Failure) -> tuple[int, dict[str, Any]]:
        """Return status and body of an error."""
        return errors.anthropic_error(failure)

    def read_failure(self, status: int, body: bytes) -> Failure:
        """Read an upstream's error."""
        return errors.read_failure(status, body)

    def models(self, names: Iterable[str]) -> dict[str, Any]:
        """Write the list of models."""
        listed = [_model(name) for name in names]
        ends = {"first_id": listed[0]["id"], "last_id": listed[-1]["id"]} if listed else {"first_id": None, "last_id": None}
        return {"data": listed, "has_more": False} | ends

    def count(self, tokens: int) -> dict[str, Any]:
        """Write a count of tokens."""
        return {"input_tokens": tokens}


def _model(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}


MESSAGES = Messages()
