"""Scores answers to biology/err: whether a step of a protocol is correct or has an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.taskkit.scoring.extraction import as_object
from harness.taskkit.scoring.kinds import one_word

from ...shared.answer_tags import find_answer

SUBSET_METRICS = {"err": "error_f1"}


def subset_of(row: Mapping[str, Any]) -> str:
    """There is one sub-set; a row of it says whether its step is correct."""
    row["context"], row["is_correct"]
    return str(row.get("subset", "err"))


def gold_of(row: Mapping[str, Any]) -> bool:
    """Whether the step is correct.

    Raises:
        ValueError: ``is_correct`` is no truth value.
    """
    if not isinstance(row["is_correct"], bool):
        raise ValueError(f"is_correct {row['is_correct']!r} is neither true nor false")
    return row["is_correct"]


def extract(response: str) -> bool | None:
    """Whether the answer calls the step correct, or ``None``: then the answer is unparsable."""
    return find_answer(response, "correct", _truth, _truth)


def score(row: Mapping[str, Any], response: str, subset: str) -> dict[str, Any]:
    """1 if the step is rightly called correct or not."""
    gold, answer = gold_of(row), extract(response)
    return {
        "parsed": answer is not None,
        "value": answer,
        "score": float(answer is gold),
        "metrics": {"accuracy": float(answer is gold)},
    }


def summarise(subset: str, scored: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """F1, precision and recall of the steps with an error, pooled over all items; an unparsable answer finds no error."""
    pairs = [(not gold_of(s["row"]), s["value"] is False) for s in scored]
    right = sum(wrong and found for wrong, found in pairs)
    found, there = sum(f for _, f in pairs), sum(w for w, _ in pairs)
    return {
        "error_f1": 2 * right / (found + there) if right else 0.0,
        "error_precision": right / found if right else 0.0,
        "error_recall": right / there if right else 0.0,
    }


def constant_answers(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Both answers."""
    return ['{"correct": false}', '{"correct": true}']


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """What lm-eval calls for each item."""
    scored = score(as_object(doc["row"]), results[0], doc["subset"])
    return {"score": scored["score"], "parsed": float(scored["parsed"])}


def _truth(value: Any) -> bool | None:
    """A truth value, or the word for one in any case."""
    word = one_word(value, ("true", "false"))
    return word == "true" if word else value if isinstance(value, bool) else None
