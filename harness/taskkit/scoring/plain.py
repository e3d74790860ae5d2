"""Making what a model wrote plain, once, where it comes in: text and values that every file, database and parser here takes."""

from __future__ import annotations

import math
import re
from typing import Any

# Lone surrogates are no UTF-8; PostgreSQL takes no zero byte. Tokenizers write neither, but JSON in an answer can spell both.
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_MARK = "\ufffd"
# The deepest answer format here has four levels; pydantic writes no more than 255, Python's own parser gives up at about 1,000.
MAX_DEPTH = 32
# `strict_json` reads integers of up to 300 characters.
_MOST = 10**299


def plain_text(text: str) -> str:
    """Return a text with what is no text replaced by U+FFFD."""
    return _NO_TEXT.sub(_MARK, text)


def plain_value(value: Any) -> Any:
    """Return a JSON value with plain texts, in lists and objects of its own; None for what is none or nested too deep."""
    try:
        return _plain(value, MAX_DEPTH)
    except (TypeError, ValueError):
        return None


def _plain(value: Any, levels: int) -> Any:
    if levels < 0:
        raise ValueError("nested too deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, int) and abs(value) < _MOST:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, list | tuple):
        return [_plain(part, levels - 1) for part in value]
    if isinstance(value, dict):
        return {_key(key): _plain(part, levels - 1) for key, part in value.items()}
    raise TypeError(f"{type(value).__name__} is no JSON")


def _key(key: Any) -> str:
    if not isinstance(key, str | int | float):
        raise TypeError("a key that is no text")
    return plain_text(str(key))
