"""A row as a tree of values, each with its path."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[Any, ...]
# What an element of a list may be called in a text: its key, its number from 0 or from 1, its letter.
KEY, FROM_0, FROM_1, LETTER = (("@key",), ("@0",), ("@1",), ("@A",))


def unfold(value: Any) -> Any:
    """Read objects and lists that a row keeps as JSON text, at any depth."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return unfold(json.loads(value))
        except (ValueError, RecursionError):
            return value
    if isinstance(value, dict):
        return {k: unfold(v) for k, v in value.items()}
    return [unfold(v) for v in value] if isinstance(value, list) else value


def nodes(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every value of a row with its path, containers before what they hold."""
    yield path, value
    for key, item in children(value):
        yield from nodes(item, (*path, key))


def written(value: Any) -> str:
    """Return a scalar as it stands in a text; nothing for what has no text."""
    return "" if value is None or isinstance(value, (dict, list, bool)) else str(value).strip()


def look_up(value: Any, path: Path) -> Any:
    """Return the value at ``path``, None where there is none."""
    for key in path:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return None
    return value


def children(value: Any) -> list[tuple[Any, Any]]:
    """Return the elements of an object or a list with their keys or positions; of anything else none."""
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def names_of(index: int, key: Any) -> dict[Path, str]:
    """Return what an element may be called: an object's keys are names, a list's positions have three."""
    if isinstance(key, str):
        return {KEY: key}
    return {FROM_0: str(index), FROM_1: str(index + 1), LETTER: chr(65 + index) if index < 26 else ""}
