"""Forms of answers: does one have the form that was asked for, or one that nobody asked for?"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

# Forms that fine-tuning for a benchmark leaves behind: a box, a code block, a line with a final answer, an object of JSON.
_TRAINED = re.compile(r"\\boxed\s*\{|```|(?:final answer|答案是)\s*[:：]", re.IGNORECASE)
_OBJECT = re.compile(r"\s*\{\s*\"[^\"]{1,60}\"\s*:")
_SENTENCE_ENDS = re.compile(r"[.!?](?:\s|$)")


def unasked_form(response: str) -> bool:
    """Whether an answer to an open question has a form of a benchmark's answers."""
    return _TRAINED.search(response) is not None or _OBJECT.match(response) is not None


def follows(form: Mapping[str, Any], response: str) -> bool:
    """Whether an answer has the form that was asked for: ``kind``, and with some kinds ``count``, ``text`` or ``key``.

    Raises:
        KeyError: there is no such kind.
    """
    return _KINDS[form["kind"]](response.strip(), form)


def _lines(response: str) -> list[str]:
    return [line.strip() for line in response.splitlines() if line.strip()]


def _is_json_with(response: str, form: Mapping[str, Any]) -> bool:
    inside = response.removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        found = json.loads(inside)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and form["key"] in found


def _has_bullets(response: str, form: Mapping[str, Any]) -> bool:
    lines = _lines(response)
    return len(lines) == form["count"] and all(line.startswith(("- ", "* ", "• ")) for line in lines)


def _is_numbered(response: str, form: Mapping[str, Any]) -> bool:
    lines = _lines(response)
    return len(lines) == form["count"] and all(line.startswith(f"{n}.") for n, line in enumerate(lines, 1))


def _has_commas(response: str, form: Mapping[str, Any]) -> bool:
    parts = response.rstrip(".").split(",")
    return len(_lines(response)) == 1 and len(parts) == form["count"] and all(0 < len(part.split()) <= 3 for part in parts)


_KINDS: dict[str, Callable[[str, Mapping[str, Any]], bool]] = {
    "one_word": lambda response, _: len(response.split()) == 1,
    "number": lambda response, _: re.fullmatch(r"-?[0-9]+\.?", response) is not None,
    "one_sentence": lambda response, _: len(_lines(response)) == 1 and len(_SENTENCE_ENDS.findall(response)) == 1,
    "upper": lambda response, _: response.isupper(),
    "lower": lambda response, _: any(c.isalpha() for c in response) and response == response.lower(),
    "begins": lambda response, form: response.startswith(form["text"]),
    "ends": lambda response, form: response.rstrip(".!").endswith(form["text"]),
    "most_words": lambda response, form: 0 < len(response.split()) <= form["count"],
    "bullets": _has_bullets,
    "numbered": _is_numbered,
    "commas": _has_commas,
    "json": _is_json_with,
}
