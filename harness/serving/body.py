"""Request bodies of hostile clients: read within bounds, and decoded without letting a small text become large objects."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import math
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn, Protocol

# How long a body may stand still on its way in, seconds: meanwhile it holds memory that others wait for.
_STALLED_S = 60
# How long the rest of a refused body is read, seconds.
_LEFT_S = 10
_DEEPEST = 100
_NODES = 200_000
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
    _measure(data, nodes, depth)
    text = data.decode("utf-8", errors="replace")
    try:
        found = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except BadBody:
        raise
    except (ValueError, RecursionError) as exc:
        raise BadBody(400, "usage", f"the body is no JSON: {str(exc)[:200]}") from None
    return cleaned(found) if "\\u" in text else found


def cleaned(value: Any) -> Any:
    """Replace lone surrogates in every text of a decoded body by U+FFFD."""
    if isinstance(value, str):
        return _SURROGATE.sub("�", value)
    if isinstance(value, list):
        return [cleaned(part) for part in value]
    if isinstance(value, dict):
        return {cleaned(key): cleaned(part) for key, part in value.items()}
    return value


def _measure(data: bytes, nodes: int, depth: int) -> None:
    count, level = 1, 0
    for match in _STRUCTURE.finditer(data):
        mark = match[0]
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


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text[:40])


def _no_number(text: str) -> NoReturn:
    raise BadBody(400, "usage", f"{text} is no JSON number")
