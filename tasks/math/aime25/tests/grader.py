r"""Scores answers to math/aime25: the last closed, non-empty ``\boxed{}`` against an integer from 0 to 999."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from harness.taskkit.scoring.extraction import after_thinking, as_object, last_boxed

from .boxed import is_percent, seen_integer, undecorated

SUBSET_METRICS = {"aime25": "accuracy"}

_DEGREES = re.compile(r"\^\{?\\circ\}?|°")
# Symbolic algebra on hostile text has no bound, so only short arithmetic goes there; anything else is no integer.
_MAX_CHARS = 120
_MAX_POWER_DIGITS = 4
_COMMAND = re.compile(r"\\([a-zA-Z]+)")
_COMMANDS = frozenset(
    re.findall(
        r"[a-z]+",
        "frac dfrac tfrac sqrt cdot times div left right text textbf mathrm mathbf "
        "lfloor rfloor lceil rceil binom dbinom tbinom mod bmod",
    )
)
_TIMEOUT_S = 5


def subset_of(row: Mapping[str, Any]) -> str:
    """There is one sub-set; a row of it has a question."""
    if "question" not in row:
        raise KeyError("no field 'question'")
    return str(row.get("subset", "aime25"))


def gold_of(row: Mapping[str, Any]) -> int:
    r"""The gold integer; one upstream gold is written ``336^\circ``."""
    return int(_DEGREES.sub("", str(row["answer"])).strip())


def extract(response: str) -> str | None:
    """Content of the box that counts, or ``None``: then the answer is unparsable."""
    return after_thinking(response, last_boxed)


def score(row: Mapping[str, Any], response: str, subset: str) -> dict[str, Any]:
    """1 if the boxed answer equals the gold integer, else 0."""
    gold = gold_of(row)
    content = extract(response)
    right = content is not None and equals_integer(content, gold)
    return {"parsed": content is not None, "value": content, "score": float(right), "metrics": {}}


def equals_integer(content: str, gold: int) -> bool:
    """Compare a box's content with an integer; what no reader sees as a plain integer goes through math-verify."""
    seen = seen_integer(content)
    if seen is not None:
        return seen == gold
    if len(content) > _MAX_CHARS or is_percent(content):
        return False
    plain = undecorated(content)
    if plain is None or not _harmless(plain):
        return False
    from math_verify import LatexExtractionConfig, parse, verify

    # math-verify's timeouts use signals, which only a main thread may set; the guards above bound the work anyhow.
    limit = _TIMEOUT_S if threading.current_thread() is threading.main_thread() else None
    wrapped = parse(f"\\boxed{{{plain}}}", extraction_config=[LatexExtractionConfig()], parsing_timeout=limit)
    return bool(verify(parse(str(gold), parsing_timeout=limit), wrapped, timeout_seconds=limit))


def _harmless(text: str) -> bool:
    """Plain arithmetic: no tower of powers, no long exponent, no factorial of a large number, no other functions."""
    if any(name not in _COMMANDS for name in _COMMAND.findall(text)):
        return False
    numbers = re.findall(r"[0-9]+", text)
    if text.count("^") + text.count("**") > 1 or text.count("!") + text.count("binom") > 1:
        return False
    if "^" in text or "!" in text or "**" in text or "binom" in text:
        longest = 3 if "!" in text or "binom" in text else _MAX_POWER_DIGITS
        return all(len(n) <= longest for n in numbers)
    return True


def constant_answers(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every gold answer that occurs, in a box."""
    return list(dict.fromkeys(f"\\boxed{{{gold_of(item['row'])}}}" for item in items))


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """What lm-eval calls for each item."""
    scored = score(as_object(doc["row"]), results[0], doc["subset"])
    return {"score": scored["score"], "parsed": float(scored["parsed"])}
