"""Scores answers to patent/noc4pc: the decision under ``code`` against the examiner's."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.taskkit.scoring.extraction import after_thinking, as_object, last_json_value
from harness.taskkit.scoring.kinds import whole_number

from ...shared.panorama import object_in

SUBSET_METRICS = {"noc4pc": "macro_f1"}

CODES = ("ALLOW", "102", "103")
_CODE = re.compile(r"[A-Za-z0-9]{1,20}")
_MAX_NUMBER = 10**9


def subset_of(row: Mapping[str, Any]) -> str:
    """There is one sub-set; a row of it has prior art and a decision."""
    row["prior_art_specifications"]
    object_in(row, "answer")
    return str(row.get("subset", "noc4pc"))


def gold_of(row: Mapping[str, Any]) -> str:
    """The examiner's decision.

    Raises:
        ValueError: it is none of the three.
    """
    code = str(object_in(row, "answer").get("code")).strip().upper()
    if code not in CODES:
        raise ValueError(f"gold code {code!r} is none of {', '.join(CODES)}")
    return code


def extract(response: str) -> str | None:
    """The code in capitals, known or not, or ``None``: then the answer is unparsable."""
    return after_thinking(response, lambda text: last_json_value(text, ["code"], _code))


def score(row: Mapping[str, Any], response: str, subset: str) -> dict[str, Any]:
    """1 if the decision is the examiner's; also whether it is one of the three at all."""
    code, gold = extract(response), gold_of(row)
    return {
        "parsed": code is not None,
        "value": code,
        "score": float(code == gold),
        "metrics": {"accuracy": float(code == gold), "known_code_rate": float(code in CODES)},
    }


def summarise(subset: str, scored: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The mean of the three classes' F1 over all items; an unparsable answer predicts no class, an absent class has F1 0."""
    pairs = [(gold_of(s["row"]), s["value"]) for s in scored]
    figures = {f"f1_{code}": f1(pairs, code) for code in CODES}
    return {"macro_f1": math.fsum(figures.values()) / len(CODES), **figures}


def f1(pairs: Sequence[tuple[str, str | None]], code: str) -> float:
    """F1 of one class: 2·TP / (2·TP + FP + FN), and 0 where it was never right."""
    right = sum(gold == given == code for gold, given in pairs)
    wrong = sum((gold == code) != (given == code) for gold, given in pairs)
    return 2 * right / (2 * right + wrong) if right else 0.0


def constant_answers(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each of the three decisions."""
    return [f'{{"code": "{code}"}}' for code in CODES]


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """What lm-eval calls for each item."""
    scored = score(as_object(doc["row"]), results[0], doc["subset"])
    return {"score": scored["score"], "parsed": float(scored["parsed"])}


def _code(value: Any) -> str | None:
    """A word or a whole number; prose, a list or a truth value is no code."""
    number = whole_number(value, _MAX_NUMBER)
    text = str(number) if number is not None else value.strip() if isinstance(value, str) else ""
    return text.upper() if _CODE.fullmatch(text) else None
