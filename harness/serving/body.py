"""Request bodies of hostile clients: read within bounds, and decoded without letting a small text become large objects."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import io
import json
import math
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple, NoReturn, Protocol

# How long a body may stand still on its way in, seconds: meanwhile it holds memory that others wait for.
_STALLED_S = 60
# How long the rest of a refused body is read, seconds.
_LEFT_S = 10
_DEEPEST = 100
_NODES = 200_000
_QUOTE = ord('"')
# A text this small is decoded as it is; a larger one in pieces of this size.
_FEW, _PIECE = 256 * 1024, 64 * 1024
# What begins a value inside an array or object, outside strings: counted before anything is built. A string that does not end
# goes to the end, and nothing is tried twice (possessive): else a megabyte of escapes takes an hour, and one plain string 114 MB.
_STRUCTURE = re.compile(rb'"[^"\\]*+(?:\\.?[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


class BadBody(Exception):
    """A body that is not taken; the status to answer with, our code, and a sentence."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Asked(Protocol):
    """What is needed of a request (Starlette's has it)."""

    @property
    def headers(self) -> Any:
        """Headers, by lower-case name."""
        ...

    def stream(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        ...


def length_of(request: Asked, cap: int) -> int | None:
    """Return the body's length as the request says it; None where it comes in chunks.

    Raises:
        BadBody: it is no length, or more than ``cap`` bytes.
    """
    said = request.headers.get("content-length")
    if said is None:
        return None
    if not said.isascii() or not said.isdigit():
        raise BadBody(400, "usage", f"Content-Length {said[:40]!r} is no number")
    if int(said) > cap:
        raise BadBody(413, "too_large", f"a body of at most {cap} bytes is taken")
    return int(said)


async def read_body(request: Asked, cap: int) -> bytes:
    """Read the whole body, at most ``cap`` bytes.

    Raises:
        BadBody: it is larger, stands still, or ends before what was announced.
    """
    whole = io.BytesIO()  # grows in place: a list of many small pieces would cost many times the body
    await read_into(request, cap, whole.write)
    return whole.getvalue()


async def read_into(request: Asked, cap: int, write: Callable[[bytes], object]) -> int:
    """Hand the body on piece by piece, and return its length.

    Raises:
        BadBody: as `read_body`.
    """
    announced = length_of(request, cap)
    size = 0
    try:
        async with asyncio.timeout(_STALLED_S) as stalled:
            async for part in request.stream():
                stalled.reschedule(asyncio.get_running_loop().time() + _STALLED_S)
                size += len(part)
                if size > cap:
                    raise BadBody(413, "too_large", f"a body of at most {cap} bytes is taken")
                write(part)
    except TimeoutError:
        raise BadBody(408, "timeout", f"the body stood still for {_STALLED_S} s") from None
    if announced is not None and size < announced:
        raise BadBody(400, "usage", f"the body ended after {size} of {announced} bytes")
    return size


async def throw_away(request: Asked) -> None:
    """Read what is left of a body that is refused, for some seconds: who is still sending would not see the answer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LEFT_S):
            async for _ in request.stream():
                pass


def decode(data: bytes, *, nodes: int = _NODES, depth: int = _DEEPEST) -> Any:
    """Return what a JSON body says. Bytes that are no UTF-8 and lone surrogates become U+FFFD.

    Raises:
        BadBody: it is no JSON (nor are NaN, Infinity, and numbers too large for a float), nested deeper than ``depth``, or of
            more than ``nodes`` values: these are counted before anything is built, because an empty list takes two bytes
            here and seventy there.
    """
    measure(data, nodes=nodes, depth=depth)
    return build(data)


def build(data: bytes) -> Any:
    """Return what a JSON body says whose values were counted.

    Raises:
        BadBody: as `decode`.
    """
    text = data.decode("utf-8", errors="replace") if len(data) <= _FEW or data.isascii() else _escaped(data)
    try:
        found = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except BadBody as exc:
        raise BadBody(exc.status, exc.code, f"{_field_of(text, exc.message.partition(' ')[0])}{exc.message}") from None
    except (ValueError, RecursionError) as exc:
        raise BadBody(400, "usage", f"the body is no JSON: {str(exc)[:200]}") from None
    return cleaned(found) if b"\\u" in data else found


def cleaned(value: Any) -> Any:
    """Replace lone surrogates in every text of a decoded body by U+FFFD."""
    if isinstance(value, str):
        return _SURROGATE.sub("�", value)
    if isinstance(value, list):
        return [cleaned(part) for part in value]
    if isinstance(value, dict):
        return {cleaned(key): cleaned(part) for key, part in value.items()}
    return value


class Measure(NamedTuple):
    """What a JSON body will become.

    Attributes:
        values: how many there are at most.
        wide: bytes of the texts that are not plain ASCII: each letter of them may take four.
    """

    values: int
    wide: int


def measure(data: bytes, *, nodes: int = _NODES, depth: int = _DEEPEST) -> Measure:
    """Return what a JSON body will become, without building any of it.

    Raises:
        BadBody: more than ``nodes``, or nested deeper than ``depth``.
    """
    count, level, wide = 1, 0, 0
    for match in _STRUCTURE.finditer(data):
        mark = match[0]
        if mark[0] == _QUOTE:
            if not mark.isascii():
                wide += len(mark)
            continue
        if mark in b"[{":
            count, level = count + 1, level + 1
            if level > depth:
                raise BadBody(400, "usage", f"the body is nested deeper than {depth}")
        elif mark in b"]}":
            level -= 1
        elif mark == b",":
            count += 1
        if count > nodes:
            raise BadBody(413, "too_large", f"the body has more than {nodes} values")
    return Measure(count, wide)


def _escaped(data: bytes) -> str:
    """Return a large JSON text with escapes for what is not ASCII: one such letter would make each of the others four bytes."""
    decoder, plain = codecs.getincrementaldecoder("utf-8")("replace"), bytearray()
    for at in range(0, len(data), _PIECE):
        plain += decoder.decode(data[at : at + _PIECE], final=at + _PIECE >= len(data)).encode("ascii", _AS_ESCAPES)
    return plain.decode("ascii")


def _as_escapes(exc: UnicodeError) -> tuple[str, int]:
    assert isinstance(exc, UnicodeEncodeError)
    units = exc.object[exc.start : exc.end].encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), exc.end


_AS_ESCAPES = "dojo-json-escapes"
codecs.register_error(_AS_ESCAPES, _as_escapes)


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text[:40])


def _field_of(text: str, number: str) -> str:
    """Return the name of the field whose value, or the beginning of it, is what is no number; "" where there is none."""
    found = re.search(rf'"([^"\\]{{1,80}})"\s*+:\s*+{re.escape(number)}', text)
    return "" if found is None else f"{found[1]}: "


def _no_number(text: str) -> NoReturn:
    raise BadBody(400, "usage", f"{text} is no JSON number")
