"""Scores answers to biology/pqa: the chosen option against the right one, and how sure the answer is of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.taskkit.scoring.extraction import as_object
from harness.taskkit.scoring.kinds import one_letter

from ...shared.answer_tags import find_answer

SUBSET_METRICS = {"pqa": "accuracy"}
LOWER_IS_BETTER = frozenset({"brier"})

LETTERS = "ABCDEFGHIJ"
_PERCENT = re.compile(r"([0-9]{1,3})\s{0,4}%?")


def subset_of(row: Mapping[str, Any]) -> str:
    """There is one sub-set; a row of it has a question and choices."""
    row["question"]
    choices_of(row)
    return str(row.get("subset", "pqa"))


def choices_of(row: Mapping[str, Any]) -> list[str]:
    """The options in order; the first is A.

    Raises:
        ValueError: they are fewer than two or more than ten.
    """
    choices = row["choices"]
    if not isinstance(choices, list) or not 2 <= len(choices) <= len(LETTERS):
        raise ValueError("choices are not a list of 2 to 10 options")
    return [str(choice).strip() for choice in choices]


def gold_of(row: Mapping[str, Any]) -> str:
    """The letter of the right option.

    Raises:
        ValueError: the answer is not exactly one of the choices.
    """
    choices, answer = choices_of(row), str(row["answer"]).strip()
    if choices.count(answer) != 1:
        raise ValueError(f"gold answer {answer!r} is not exactly one of the choices {choices}")
    return LETTERS[choices.index(answer)]


def extract(response: str, choices: Sequence[str]) -> tuple[str, float] | None:
    """(letter, confidence on 0–1), or ``None``: then the answer is unparsable."""
    return find_answer(
        response, "answer", lambda value: _letter_and_confidence(value, len(choices)), lambda text: _in_tags(text, choices)
    )


def score(row: Mapping[str, Any], response: str, subset: str) -> dict[str, Any]:
    """1 if the chosen option is the right one; also the squared error of the confidence, 1 where nothing was answered."""
    gold = gold_of(row)
    found = extract(response, choices_of(row))
    right = found is not None and found[0] == gold
    return {
        "parsed": found is not None,
        "value": None if found is None else {"answer": found[0], "confidence": found[1]},
        "score": float(right),
        "metrics": {"brier": 1.0 if found is None else (found[1] - right) ** 2},
    }


def constant_answers(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each letter that the items have."""
    most = max(len(choices_of(item["row"])) for item in items)
    return [f'{{"answer": ["{letter}", 100]}}' for letter in LETTERS[:most]]


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """What lm-eval calls for each item."""
    scored = score(as_object(doc["row"]), results[0], doc["subset"])
    return {"score": scored["score"], "parsed": float(scored["parsed"])}


def _letter_and_confidence(value: Any, options: int) -> tuple[str, float] | None:
    """``[letter, confidence from 0 to 100]``, or the letter alone: then the answer is taken to be sure."""
    given, confidence = value if isinstance(value, list) and len(value) == 2 else (value, 100)
    letter = one_letter(given, LETTERS[:options])
    sure = isinstance(confidence, int | float) and not isinstance(confidence, bool) and 0 <= confidence <= 100
    return (letter, confidence / 100) if letter and sure else None


def _in_tags(found: str, choices: Sequence[str]) -> tuple[str, float] | None:
    """The benchmark's own form: ``[ANSWER_START]the option's text & 90%[ANSWER_END]``; the last ``&`` counts."""
    option, _, sure = found.rpartition("&")
    percent = _PERCENT.fullmatch(sure.strip()) if len(sure) < 20 else None
    if percent is None or choices.count(option.strip()) != 1 or int(percent[1]) > 100:
        return None
    return LETTERS[choices.index(option.strip())], int(percent[1]) / 100
