"""Finding the JSON that a model meant in what it said. It is data, and may be hostile: it is parsed, never executed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

# An answer of ours has a few thousand characters; beyond these, nothing is looked for.
MOST_CHARS, MOST_STARTS = 200_000, 200
# Integers beyond this mean nothing in a plan, and overflow what is worked out from them.
LARGEST = 10**15
_FENCE = re.compile(r"```(?:json|JSON)?[ \t]*\n(.*?)```", re.DOTALL)
# what would end a line of the journal or steer a terminal
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Unreadable(Exception):
    """An answer that is not what was asked for. ``problems`` says what to change, for the model that gave it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read_reply(text: str, model: type[BaseModel]) -> BaseModel:
    """Return the answer in a text: the whole text, a fenced block, or an object with prose around it.

    The first candidate that has the asked form is taken, so that an example quoted before the answer does no harm.

    Raises:
        Unreadable: there is none; the problems are those of the largest candidate.
    """
    said = text[:MOST_CHARS].strip()
    if not said:
        raise Unreadable(["the answer is empty"])
    worst: tuple[int, list[str]] = (-1, ["there is no JSON object in the answer"])
    for candidate in _candidates(said):
        try:
            value = _loaded(candidate)
            return model.model_validate(value)
        except ValidationError as exc:
            problems = describe(exc)
        except RecursionError:
            problems = ["it is nested too deeply"]
        except ValueError as exc:
            problems = [f"it is no JSON: {exc}"]
        if len(candidate) > worst[0]:
            worst = (len(candidate), problems)
    raise Unreadable(worst[1])


def describe(error: ValidationError, most: int = 8) -> list[str]:
    """Say each fault in a line: where, what, and what stood there."""
    lines = []
    for fault in error.errors(include_url=False)[:most]:
        place = ".".join(str(part) for part in fault["loc"]) or "the answer"
        given = "" if fault["type"] == "missing" else f" (you gave {_short(fault['input'])})"
        lines.append(f"{place}: {fault['msg']}{given}")
    return lines


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _candidates(said: str) -> Iterator[str]:
    thought = said.rfind("</think>")
    if thought >= 0:
        said = said[thought + len("</think>") :].strip()
    if said[:1] == "{" and said[-1:] == "}":
        yield said
    blocks = [block.strip() for block in _FENCE.findall(said)]
    yield from (block for block in reversed(blocks) if block[:1] == "{")
    yield from _objects(said)


def _objects(said: str) -> Iterator[str]:
    """Yield every outermost ``{…}``; what is cut off before its last brace is the rest of the text."""
    start, starts = said.find("{"), 0
    while start >= 0 and starts < MOST_STARTS:
        starts += 1
        end = _closing(said, start)
        yield said[start : end + 1] if end is not None else said[start:]
        if end is None:
            return
        start = said.find("{", end + 1)


def _closing(said: str, start: int) -> int | None:
    depth, quoted, escaped = 0, False, False
    for position in range(start, len(said)):
        char = said[position]
        if quoted:
            quoted, escaped = not (char == '"' and not escaped), char == "\\" and not escaped
        elif char == '"':
            quoted = True
        elif char in "{}":
            depth += 1 if char == "{" else -1
            if depth == 0:
                return position
    return None


def _loaded(text: str) -> Any:
    return _clean(json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_small, strict=False))


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:20]} is no finite number")
    return value


def _small(digits: str) -> int:
    if len(digits) > len(str(LARGEST)):
        raise ValueError(f"{digits[:20]}… is too large a number")
    return int(digits)


def _clean(value: Any) -> Any:
    """Make text of what JSON takes for text: no lone surrogates, no control characters."""
    if isinstance(value, str):
        return _CONTROL.sub("", value.encode("utf-8", "replace").decode())
    if isinstance(value, list):
        return [_clean(each) for each in value]
    if isinstance(value, dict):
        return {_clean(name): _clean(each) for name, each in value.items()}
    return value
