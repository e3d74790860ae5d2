"""Reading JSON that strangers wrote: bounded, finite, without duplicate keys."""

from __future__ import annotations

import json
from typing import Any


class StrictJsonError(ValueError):
    """The bytes are no JSON we accept; the message says why."""


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, value in pairs:
        if key in document:
            raise StrictJsonError(f"the key {key[:80]!r} occurs twice in one object")
        document[key] = value
    return document


def _no_constants(name: str) -> Any:
    raise StrictJsonError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise StrictJsonError(f"{text[:40]} overflows a double")
    return value


def _short_int(text: str) -> int:
    # json would build integers of any length; 300 digits still fit a double
    if len(text) > 300:
        raise StrictJsonError(f"an integer of {len(text)} digits")
    return int(text)


def strict_json(data: bytes, *, max_bytes: int) -> Any:
    """Decode UTF-8 JSON.

    Raises:
        StrictJsonError: larger than ``max_bytes``, not UTF-8, no JSON, nested too deep, a duplicate key, NaN or Infinity.
    """
    if len(data) > max_bytes:
        raise StrictJsonError(f"{len(data)} bytes are more than the {max_bytes} allowed")
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constants,
            parse_float=_finite,
            parse_int=_short_int,
        )
    except UnicodeDecodeError as exc:
        raise StrictJsonError(f"not UTF-8 at byte {exc.start}") from exc
    except json.JSONDecodeError as exc:
        raise StrictJsonError(f"no JSON: {exc.msg} at line {exc.lineno} column {exc.colno}") from exc
    except RecursionError as exc:
        raise StrictJsonError("nested too deep") from exc
