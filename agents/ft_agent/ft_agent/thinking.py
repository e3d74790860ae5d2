"""What thinking with a backbone costs and comes to: one record a call, journalled; reported at the end of the run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Thought:
    """One call for one purpose, with its repair where it needed one.

    Attributes:
        call: survey, propose, write_program, diagnose, lessons, synthesise, rewrite.
        outcome: ``good``, ``repaired`` (the second answer was taken) or ``fell_back`` (the rules decided instead).
        why: what was wrong, where something was.
        seconds: until the answer stood.
        input_tokens: as the backbone reports them, over all tries; 0 where it reports none.
        output_tokens: likewise.
        iteration: number of the iteration it was thought for; 0: before the first.
    """

    call: str
    outcome: Literal["good", "repaired", "fell_back"]
    why: str = ""
    seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    iteration: int = 0


def summed(thoughts: Iterable[Thought]) -> dict[str, Any]:
    """Add up by call: how many, how many repaired and given up, tokens, seconds."""
    found: dict[str, dict[str, Any]] = {}
    for thought in thoughts:
        line = found.setdefault(
            thought.call,
            {"calls": 0, "repaired": 0, "fell_back": 0, "input_tokens": 0, "output_tokens": 0, "seconds": 0.0},
        )
        line["calls"] += 1
        line["repaired"] += thought.outcome == "repaired"
        line["fell_back"] += thought.outcome == "fell_back"
        line["input_tokens"] += thought.input_tokens
        line["output_tokens"] += thought.output_tokens
        line["seconds"] = round(line["seconds"] + thought.seconds, 1)
    return found
