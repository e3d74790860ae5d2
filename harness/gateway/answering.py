"""An upstream's answer on its way to the agent: as it is, or from one wire format into another; metered and free of keys."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, Protocol

from harness.gateway.asking import Asked
from harness.gateway.dialogue import Ask, Failure, Finish, Malformed, Reply
from harness.gateway.formats import FORMATS
from harness.gateway.formats.pieces import Gathering
from harness.gateway.recording import CUT_AT
from harness.gateway.redact import Redactor

# An answer that is no stream is read whole before it goes on.
MOST_WHOLE = 16 * 1024 * 1024


class Broken(Exception):
    """An answer that ended before its end, or cannot be read."""


class Pipe(Protocol):
    """Turns an upstream's bytes into the agent's."""

    def feed(self, data: bytes) -> bytes:
        """Return what the agent gets of these bytes."""
        ...

    def end(self) -> bytes:
        """Return what is left.

        Raises:
            Broken: the answer is no answer.
        """
        ...

    def failure(self, failure: Failure) -> bytes:
        """Return an error in the middle of a stream."""
        ...

    def reply(self) -> Reply:
        """Return the answer as far as it went by."""
        ...


def pipe(asked: Asked, body: Mapping[str, Any], redactor: Redactor) -> Pipe:
    """Return the way for one answer.

    Args:
        asked: the request.
        body: as the agent sent it, for what its stream shows.
        redactor: takes keys out.
    """
    if asked.ask is None:
        return _Unchanged(asked, body, redactor)
    return _Translated(asked, asked.ask, redactor) if asked.stream else _TranslatedWhole(asked, asked.ask, redactor)


def keep_alive(asked: Asked) -> bytes:
    """Return what keeps a client that waits for a stream."""
    return FORMATS[asked.format].encoder(_bare(asked)).keep_alive()


def stream_failure(asked: Asked, failure: Failure) -> bytes:
    """Return an error for a stream in which nothing was said yet."""
    return FORMATS[asked.format].encoder(_bare(asked)).failure(failure)


class _Unchanged:
    def __init__(self, asked: Asked, body: Mapping[str, Any], redactor: Redactor) -> None:
        wire = FORMATS[asked.format]
        self._asked = asked
        self._meter = wire.meter(asked.stream)
        self._filter = wire.filter(body) if asked.stream else None
        self._clean = redactor.stream()
        self._reply: Reply | None = None

    def feed(self, data: bytes) -> bytes:
        self._meter.feed(data)
        return self._clean.feed(self._filter.feed(data) if self._filter else data)

    def end(self) -> bytes:
        rest = self._clean.feed(self._filter.end()) if self._filter else b""
        return rest + self._clean.end()

    def failure(self, failure: Failure) -> bytes:
        return self._clean.end() + b"\n\n" + stream_failure(self._asked, failure)

    def reply(self) -> Reply:
        if self._reply is None:
            self._reply = self._meter.reply()
        return self._reply


class _Translated:
    def __init__(self, asked: Asked, ask: Ask, redactor: Redactor) -> None:
        self._decoder, self._encoder = FORMATS[asked.upstream].decoder(), FORMATS[asked.format].encoder(ask)
        self._gathering = Gathering()
        self._clean = redactor.stream()
        self._started = False
        self._finish: Finish | None = None

    def feed(self, data: bytes) -> bytes:
        return self._clean.feed(self._written(self._decoder.feed(data)))

    def end(self) -> bytes:
        try:
            pieces = self._decoder.end()
        except Malformed as wrong:
            raise Broken(str(wrong)) from None
        return self._clean.feed(self._written(pieces)) + self._clean.end()

    def failure(self, failure: Failure) -> bytes:
        return self._clean.end() + self._encoder.failure(failure)

    def reply(self) -> Reply:
        if self._finish is None:
            try:
                self._gathering.add(self._decoder.end())
            except Malformed:
                self._gathering.add([self._decoder.so_far()])
        return self._gathering.reply()

    def _written(self, pieces: list[Any]) -> bytes:
        out = b""
        if not self._started:
            self._started = True
            out = self._encoder.start()
        self._gathering.add(pieces)
        for piece in pieces:
            if isinstance(piece, Finish):
                self._finish = piece
            out += self._encoder.feed(piece)
        return out


class _TranslatedWhole:
    def __init__(self, asked: Asked, ask: Ask, redactor: Redactor) -> None:
        self._asked, self._ask, self._redactor = asked, ask, redactor
        self._body = bytearray()
        self._reply = Reply(())

    def feed(self, data: bytes) -> bytes:
        self._body += data
        return b""

    def end(self) -> bytes:
        try:
            self._reply = FORMATS[self._asked.upstream].parse_reply(json.loads(self._body))
        except (ValueError, Malformed, RecursionError) as wrong:
            raise Broken(f"its answer cannot be read: {str(wrong)[:200]}") from None
        rendered = FORMATS[self._asked.format].render_reply(self._reply, self._ask)
        return self._redactor.clean(json.dumps(rendered, separators=(",", ":")).encode())

    def failure(self, failure: Failure) -> bytes:
        return b""

    def reply(self) -> Reply:
        return self._reply


def _bare(asked: Asked) -> Ask:
    return asked.ask or Ask(asked.model, (), stream=True)


class Kept:
    """The bytes an agent got, compressed while they come: a stream's events are mostly the same words."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(1)
        self._packed = bytearray()
        self._size = 0

    @property
    def cut(self) -> bool:
        """Whether there were more than are kept."""
        return self._size > CUT_AT

    def add(self, data: bytes) -> None:
        """Keep more."""
        if self._size < CUT_AT:
            self._packed += self._compressor.compress(data[: CUT_AT - self._size])
        self._size += len(data)

    def bytes(self) -> bytes:
        """Return what is kept so far."""
        return zlib.decompress(self._packed + self._compressor.copy().flush())
