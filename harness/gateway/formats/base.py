"""What every wire format gives: reading and writing requests, answers and streams, its metering and its errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from harness.gateway.dialogue import Ask, Failure, Piece, Reply, TokenUsage
from harness.spec.backbone import FormatName


class Decoder(Protocol):
    """Reads an upstream's stream of this format, whatever pieces its bytes come in."""

    def feed(self, data: bytes) -> list[Piece]:
        """Return what these bytes complete. A `Finish` is held back until `end`."""
        ...

    def end(self) -> list[Piece]:
        """Return the `Finish`. Without one from the upstream the stop is "end" and the usage is what is known.

        Raises:
            Malformed: the stream carried an error (its message) or broke off in the middle of an event.
        """
        ...


class Encoder(Protocol):
    """Writes a stream of this format."""

    def start(self) -> bytes:
        """Return what comes before the first piece; may be empty."""
        ...

    def feed(self, piece: Piece) -> bytes:
        """Return one piece as events."""
        ...

    def failure(self, failure: Failure) -> bytes:
        """Return an error in the middle of a stream, as the provider's client understands it."""
        ...

    def keep_alive(self) -> bytes:
        """Return what keeps a waiting client and says nothing."""
        ...


class Meter(Protocol):
    """Watches an answer that passes through unchanged, to know its usage, model and how it ended."""

    def feed(self, data: bytes) -> None:
        """Watch more of the body (streamed or whole)."""
        ...

    def reply(self) -> Reply:
        """Return the answer as far as it went by; its usage may be unknown in parts."""
        ...


class Filter(Protocol):
    """Takes out of a stream that passes through what the client did not ask for."""

    def feed(self, data: bytes) -> bytes:
        """Return what the client may see of these bytes."""
        ...

    def end(self) -> bytes:
        """Return what was held back."""
        ...


class WireFormat(Protocol):
    """One wire format. All methods are pure, but for the time and fresh identities in answers that are written."""

    name: FormatName

    def parse(self, body: Mapping[str, Any]) -> Ask:
        """Read a request. Google's model and stream flag stand in the path: the server puts them in as ``model``, ``stream``.

        Raises:
            Malformed: the body breaks the format.
            Untranslatable: it says what `Ask` cannot hold.
        """
        ...

    def render(self, ask: Ask) -> dict[str, Any]:
        """Write a request for an upstream of this format.

        Raises:
            Untranslatable: the format cannot say it.
        """
        ...

    def capped(self, body: Mapping[str, Any], model: str, max_output: int | None) -> dict[str, Any]:
        """Return a body that passes through to an upstream of the same format.

        Changed are only the model's name, the cap of the answer (``max_output`` is written where the body asks for more or says
        nothing; None: it is left as it is), and, where the format needs to be asked for it, usage in streams.
        """
        ...

    def asked_output(self, body: Mapping[str, Any]) -> int | None:
        """Return the tokens of answer a body asks for at most (times the number of choices), or None where it does not say."""
        ...

    def parse_reply(self, body: Mapping[str, Any]) -> Reply:
        """Read a whole answer of an upstream.

        Raises:
            Malformed: it is none.
        """
        ...

    def render_reply(self, reply: Reply, ask: Ask) -> dict[str, Any]:
        """Write a whole answer."""
        ...

    def decoder(self) -> Decoder:
        """Return a reader for one stream."""
        ...

    def encoder(self, ask: Ask) -> Encoder:
        """Return a writer for one stream."""
        ...

    def meter(self, streamed: bool) -> Meter:
        """Return a watcher for one answer that passes through."""
        ...

    def filter(self, body: Mapping[str, Any]) -> Filter | None:
        """Return what a stream that passes through must be cut by, since `capped` asked for more than this body; None: nothing.

        The `Meter` watches what came from upstream, not what is left of it.
        """
        ...

    def failure(self, failure: Failure) -> tuple[int, dict[str, Any]]:
        """Return status and body of an error in the provider's own shape."""
        ...

    def read_failure(self, status: int, body: bytes) -> Failure:
        """Read an upstream's error; never raises: what cannot be read is quoted, cut."""
        ...

    def models(self, names: Iterable[str]) -> dict[str, Any]:
        """Write the list of models."""
        ...

    def count(self, tokens: int) -> dict[str, Any]:
        """Write the answer to a call that counts tokens."""
        ...


def total(usage: TokenUsage) -> int:
    """Return input and output tokens together, unknown ones as 0."""
    return (usage.input or 0) + (usage.output or 0)
