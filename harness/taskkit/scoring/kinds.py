"""Kinds of values in JSON answers, each read by one rule whatever the task: a letter, a word of a list, a whole number.

Each takes any JSON value and returns ``None`` for what is none of its kind; prose, lists and truth values never are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

# Longer texts are no letter and no word, and are not looked at.
_MAX_CHARS = 100
_LETTER = re.compile(r"[\s(\[]*([A-Za-z])[\s)\].:]*")
_WHOLE = re.compile(r"[+-]?[0-9]{1,40}")
# Whole numbers up to here are exact as doubles.
_EXACT = 2**53


def one_letter(value: Any, letters: str) -> str | None:
    """The capital of a text that is one of ``letters`` in either case, with brackets, a full stop or a colon around it."""
    match = _LETTER.fullmatch(value) if isinstance(value, str) and len(value) <= _MAX_CHARS else None
    letter = match.group(1).upper() if match else ""
    return letter if letter and letter in letters else None


def one_word(value: Any, words: Iterable[str]) -> str | None:
    """The one of ``words`` (in small letters) that a text is, in any case, with white space around it or a full stop behind."""
    if not isinstance(value, str) or len(value) > _MAX_CHARS:
        return None
    word = value.strip().removesuffix(".").rstrip().casefold()
    return word if word in words else None


def whole_number(value: Any, most: int) -> int | None:
    """The whole number from ``-most`` to ``most`` that a value is: ``17``, ``17.0``, ``"17"`` and ``" 017 "`` are the same.

    A text is read in the digits 0 to 9, with a sign at most.
    """
    written = isinstance(value, str) and len(value) <= _MAX_CHARS and _WHOLE.fullmatch(value.strip())
    if written or (isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT):
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return int(value) if whole and abs(value) <= most else None
