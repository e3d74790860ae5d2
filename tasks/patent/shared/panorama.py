"""Rows of PANORAMA, the benchmark of the patent tasks; a field may be an object or JSON text of one. Pure standard library.

Graders and ``prepare.py`` files of all patent tasks read rows with these and nothing else, so each rule is written once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_DIGITS = re.compile(r"[0-9]+")


def decoded(value: Any) -> Any:
    """Return what JSON text of an object or a list holds, and any other value as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def object_in(row: Mapping[str, Any], field: str) -> dict[str, Any]:
    """Return a field that is an object.

    Raises:
        KeyError: the row has no such field.
        ValueError: the field is no object, nor JSON text of one.
    """
    value = decoded(row[field])
    if not isinstance(value, Mapping):
        raise ValueError(f"field {field!r} is no object, nor JSON text of one")
    return {str(key): decoded(part) for key, part in value.items()}


def options_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options; those that a table's columns fill with nothing are none.

    Raises:
        KeyError: the row has no options.
        ValueError: they are no object, nor JSON text of one.
    """
    return {key: value for key, value in object_in(row, "options").items() if value is not None}


def objects_in(row: Mapping[str, Any], field: str) -> list[dict[str, Any]]:
    """Return a field that is a list of objects, such as ``prior_art_specifications``.

    Raises:
        KeyError: the row has no such field.
        ValueError: the field is no list of objects.
    """
    value = decoded(row[field])
    parts = [decoded(part) for part in value] if isinstance(value, Sequence) and not isinstance(value, str) else [None]
    found = [dict(part) for part in parts if isinstance(part, Mapping)]
    if len(found) < len(parts):
        raise ValueError(f"field {field!r} is no list of objects, nor JSON text of one")
    return found


def names_in(row: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """Return letters or paragraph ids: from a list, JSON text of one, a text with commas, or a single one; ``()`` if missing."""
    value = decoded(row.get(field))
    if value is None:
        return ()
    if isinstance(value, str):
        value = value.split(",")
    elif not isinstance(value, Sequence):
        value = [value]
    return tuple(dict.fromkeys(name for part in value if (name := name_of(part))))


def name_of(value: Any) -> str:
    """Write an id in one way: ``17``, ``17.0``, ``"17"`` and ``"0017"`` are the same. Empty where the value is no id."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return ""
    text = value.strip() if isinstance(value, str) else str(value)
    return (text.lstrip("0") or "0") if _DIGITS.fullmatch(text) else text


def claim_of(row: Mapping[str, Any]) -> str:
    """Return the claim that the row asks about.

    Claims are counted from 1; where the claims carry their numbers (``3. A pump …``) the number counts, not the place.

    Raises:
        KeyError: the row has no claim number or no context.
        ValueError: there is no such claim.
    """
    number = int(row["claim_number"])
    claims = [str(claim) for claim in object_in(row, "context").get("claims") or []]
    numbered = [claim for claim in claims if re.match(rf"\s*{number}\s*[.)]\s", claim)]
    if numbered:
        return numbered[0]
    if not 1 <= number <= len(claims):
        raise ValueError(f"claim {number} of {len(claims)} claims")
    return claims[number - 1]
