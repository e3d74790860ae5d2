"""What every wire format gives: reading and writing requests, answers and streams, its metering and its errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from harness.gateway.dialogue import Ask, Failure, Finish, Piece, Reply, TokenUsage
from harness.gateway.formats import errors
from harness.spec.backbone import FormatName


class Decoder(Protocol):
    """Reads an upstream's stream of this format, whatever pieces its bytes come in."""

    def feed(self, data: bytes) -> list[Piece]:
        """Return what these bytes complete. A `Finish` is held back until `end`."""
        ...

    def so_far(self) -> Finish:
        """Return the end as it is known now."""
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


def _nothing_to_hide(body: Mapping[str, Any]) -> Filter | None:
    return None


@dataclass(frozen=True)
class WireFormat:
    """One wire format, as the functions that read and write it. They are pure, but for the time and fresh identities in answers.

    Attributes:
        name: of the format.
        parse: reads a request. Google's model and stream flag stand in the path: the server puts them in as ``model`` and
            ``stream``. Raises `Malformed` where it breaks the format, `Untranslatable` where it says what `Ask` cannot hold.
        render: writes a request for an upstream of this format; raises `Untranslatable` where the format cannot say it.
        capped: (body, model, most) → a body that passes through to an upstream of the same format. Changed are only the model's
            name, the cap of the answer (``most`` is written where the body asks for more or says nothing; None: it is left as it
            is), and, where the format needs to be asked for it, usage in streams.
        asked_output: the tokens of answer a body asks for at most (times the number of choices); None where it does not say.
        parse_reply: reads a whole answer of an upstream; raises `Malformed` where it is none.
        render_reply: writes a whole answer.
        decoder: makes a reader for one stream.
        encoder: makes a writer for one stream.
        failure: status and body of an error in the provider's own shape.
        models: writes the list of models.
        count: writes the answer to a call that counts tokens.
        filter: what a stream that passes through must be cut by, since `capped` asked for more than this body; None: nothing. The
            `Meter` watches what came from upstream, not what is left of it.
    """

    name: FormatName
    parse: Callable[[Mapping[str, Any]], Ask]
    render: Callable[[Ask], dict[str, Any]]
    capped: Callable[[Mapping[str, Any], str, int | None], dict[str, Any]]
    asked_output: Callable[[Mapping[str, Any]], int | None]
    parse_reply: Callable[[Mapping[str, Any]], Reply]
    render_reply: Callable[[Reply, Ask], dict[str, Any]]
    decoder: Callable[[], Decoder]
    encoder: Callable[[Ask], Encoder]
    failure: Callable[[Failure], tuple[int, dict[str, Any]]]
    models: Callable[[Iterable[str]], dict[str, Any]]
    count: Callable[[int], dict[str, Any]]
    filter: Callable[[Mapping[str, Any]], Filter | None] = _nothing_to_hide

    def meter(self, streamed: bool) -> Meter:
        """Return a watcher for one answer that passes through."""
        from harness.gateway.formats.pieces import StreamMeter, WholeMeter  # which read streams by the protocols of this module

        return StreamMeter(self.decoder()) if streamed else WholeMeter(self.parse_reply)

    def read_failure(self, status: int, body: bytes) -> Failure:
        """Read an upstream's error; never raises: what cannot be read is quoted, cut."""
        return errors.read_failure(status, body)


def total(usage: TokenUsage) -> int:
    """Return input and output tokens together, unknown ones as 0."""
    return (usage.input or 0) + (usage.output or 0)
