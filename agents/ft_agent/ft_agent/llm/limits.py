"""How many tokens a call may take, in and out, and all calls of one iteration together. Held by code, whatever is asked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_PIECES = re.compile(r"[A-Za-z]+|[0-9]|[ \t]+|[\r\n]+|[\x00-\x7f]|.", re.DOTALL)
# Letters of a word that a token stands for, at least: English words have 4 to 5, formulas and names of things 3.
LETTERS_PER_TOKEN = 3
# Tokens of a character outside ASCII: three bytes, of which byte-level tokenizers merge some.
TOKENS_OF_OTHERS = 2
# No text has more characters a token than runs of blanks, as counted here.
MOST_CHARS_PER_TOKEN = 17
# Words around a prompt that chat templates add.
AROUND = 64


@dataclass(frozen=True)
class Cut:
    """A fact that is shortened where a prompt is too long: which end of it stays, and how many tokens of it at least."""

    fact: str
    keep: Literal["start", "end"] = "start"
    least: int = 60


@dataclass(frozen=True)
class Limit:
    """One call's tokens.

    Attributes:
        prompt: of everything that is sent the first time.
        output: of the answer, with what the model thinks before it.
        cuts: facts that may be shortened, the most expendable first; all others are always whole.
        group: ``thinking`` or ``making`` (rows); each has its own tokens an iteration.
    """

    prompt: int
    output: int
    cuts: tuple[Cut, ...] = ()
    group: Literal["thinking", "making"] = "thinking"


LIMITS: Mapping[str, Limit] = {
    "survey": Limit(6000, 3000, (Cut("samples", least=300), Cut("examples"), Cut("sources"), Cut("task"))),
    "propose": Limit(
        9000,
        6000,
        (
            Cut("samples"),
            Cut("survey"),
            Cut("lessons"),
            Cut("errors"),
            Cut("history", "end", 300),
            Cut("arguments", least=300),
            Cut("sources"),
            Cut("effects", least=120),
            Cut("operations", least=300),
            Cut("task"),
        ),
    ),
    "write_program": Limit(5000, 6000, (Cut("samples", least=300), Cut("sources"), Cut("task"), Cut("failed", least=200))),
    "diagnose": Limit(
        7000, 3000, (Cut("lessons"), Cut("history", "end", 100), Cut("effects", least=100), Cut("errors"), Cut("task"))
    ),
    "lessons": Limit(7000, 3000, (Cut("history", "end", 300), Cut("effects", least=100), Cut("before", least=200), Cut("task"))),
    "synthesise": Limit(4000, 8000, (Cut("examples", least=200), Cut("avoid"), Cut("task")), "making"),
    "rewrite": Limit(6000, 8000, (Cut("examples"), Cut("task")), "making"),
}
# What goes back with a repair beside the first prompt: the answer's beginning, and what is wrong with it.
REPAIR_TOKENS = 2500
# Tokens of one iteration by group, in and out. Three plans with a program each and their repairs fit the first; a thousand made
# rows the second.
PER_ITERATION: Mapping[str, int] = {"thinking": 80_000, "making": 400_000}


def tokens_of(text: str) -> int:
    """Count a text's tokens, rather too many than too few: no backbone's tokenizer is at hand in a sandbox."""
    return math.ceil(sum(_weight(piece) for piece in _PIECES.findall(text)))


def _weight(piece: str) -> float:
    first = piece[0]
    if first in "\r\n":
        return 1 + len(piece) // 16
    if first in " \t":
        # a single blank is part of the next word's token
        return 0 if len(piece) == 1 else 1 + len(piece) // 16
    if first.isascii() and first.isalpha():
        return math.ceil(len(piece) / LETTERS_PER_TOKEN) if len(piece) > 6 else 1 + (len(piece) > 4) * 0.5
    return 1 if first.isascii() else TOKENS_OF_OTHERS


def clipped(text: str, tokens: int, keep: Literal["start", "end"] = "start") -> str:
    """Cut a text to so many tokens and say so; the start or the end of it stays, to a whole line where one is near."""
    most = MOST_CHARS_PER_TOKEN * (tokens + 1)
    if len(text) <= most and tokens_of(text) <= tokens:
        return text
    # what is far too long is not counted through
    text = text[:most] if keep == "start" else text[max(0, len(text) - most) :]
    mark = "[… left out]"
    room = max(0, tokens - tokens_of(mark) - 1)
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        part = text[:middle] if keep == "start" else text[len(text) - middle :]
        low, high = (middle, high) if tokens_of(part) <= room else (low, middle - 1)
    if keep == "start":
        part = text[:low]
        line = part.rfind("\n")
        return (part[:line] if line > 0.7 * low else part) + "\n" + mark
    part = text[len(text) - low :]
    line = part.find("\n")
    return mark + "\n" + (part[line + 1 :] if 0 <= line < 0.3 * low else part)
