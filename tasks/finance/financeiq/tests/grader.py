"""Scores answers to finance/financeiq: one letter A–D, alone or after ``答案是:``, against the right one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from harness.taskkit.scoring.extraction import after_thinking, as_object

SUBJECTS = (
    "注册会计师（CPA）",
    "银行从业资格",
    "证券从业资格",
    "基金从业资格",
    "保险从业资格CICE",
    "经济师",
    "税务师",
    "期货从业资格",
    "理财规划师",
    "精算师-金融数学",
)
SUBSET_METRICS = dict.fromkeys(SUBJECTS, "accuracy")

LETTERS = "ABCD"
# Stands for what was no text in a response; it is no punctuation.
_NO_TEXT = "\ufffd"
# All letters that are given at once, so that two of them are seen to be no answer. Marker and letters may be emphasised.
_MARKED = re.compile(
    r"答案是[*_]{0,3}+\s*+[:：][*_]{0,3}+\s*+[*_]{0,3}+"
    r"([A-D]++(?:[*_]{0,3}+ ?[、/和或与及&+] ?[*_]{0,3}+[A-D]++)*+)(?![A-Za-z0-9])"
)


def subset_of(row: Mapping[str, Any]) -> str:
    """Upstream names the subject by file only, so a row carries it as ``subset``, with or without ``.csv``."""
    row["Question"]
    return str(row["subset"]).removesuffix(".csv")


def gold_of(row: Mapping[str, Any]) -> str:
    """The right letter.

    Raises:
        ValueError: it is none of A–D.
    """
    gold = str(row["Answer"]).strip()
    if len(gold) != 1 or gold not in LETTERS:
        raise ValueError(f"gold answer {gold!r} is none of A, B, C, D")
    return gold


def extract(response: str) -> str | None:
    """The chosen letter, or ``None``: then the answer is unparsable."""
    return after_thinking(response, _letter)


def score(row: Mapping[str, Any], response: str, subset: str) -> dict[str, Any]:
    """1 if the letter is the right one, else 0."""
    chosen, gold = extract(response), gold_of(row)
    return {"parsed": chosen is not None, "value": chosen, "score": float(chosen == gold), "metrics": {}}


def constant_answers(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each of the four letters."""
    return [f"答案是: {letter}" for letter in LETTERS]


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """What lm-eval calls for each item."""
    scored = score(as_object(doc["row"]), results[0], doc["subset"])
    return {"score": scored["score"], "parsed": float(scored["parsed"])}


def _letter(text: str) -> str | None:
    """The last ``答案是: X``; without one, a response that is nothing but one letter with punctuation around it."""
    marked = None
    for match in _MARKED.finditer(text):
        marked = match.group(1)
    if marked is not None:
        return marked if len(marked) == 1 else None
    found = ""
    for char in text:
        if char == _NO_TEXT or (not char.isspace() and unicodedata.category(char)[0] not in "PS"):
            if found or char not in LETTERS:
                return None
            found = char
    return found or None
