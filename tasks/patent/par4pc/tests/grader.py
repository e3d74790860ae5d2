"""Scores answers to patent/par4pc: the letters under ``answer`` against the documents that the examiner cited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.taskkit.scoring.extraction import after_thinking, as_object, last_json_value
from harness.taskkit.scoring.kinds import one_letter

from ...shared.panorama import names_in, options_of

SUBSET_METRICS = {"par4pc": "micro_f1"}

LETTERS = "ABCDEFGH"
# A list longer than this names letters over and over.
_MAX_LIST = 64


def subset_of(row: Mapping[str, Any]) -> str:
    """There is one sub-set; a row of it has options and gold letters."""
    options_of(row)
    row["gold_answers"]
    return str(row.get("subset", "par4pc"))


def extract(response: str) -> list[str] | None:
    """The chosen letters, sorted, or ``None``: then the answer is unparsable."""
    return after_thinking(response, lambda text: last_json_value(text, ["answer"], _letters))


def counts(row: Mapping[str, Any], chosen: Sequence[str]) -> tuple[int, int, int]:
    """True positives, false positives and false negatives of the chosen letters; silver letters are no false positives.

    Raises:
        ValueError: the row has no gold letter, or one that is none of A–H.
    """
    gold, silver = set(names_in(row, "gold_answers")), set(names_in(row, "silver_answers"))
    if not gold or not gold | silver <= set(LETTERS):
        raise ValueError(f"gold letters {sorted(gold)} and silver letters {sorted(silver)} are not letters A–H")
    return len(gold & set(chosen)), len(set(chosen) - gold - silver), len(gold - set(chosen))


def score(row: Mapping[str, Any], response: str, subset: str) -> dict[str, Any]:
    """The item's own F1 over letters; also whether exactly the gold letters were chosen."""
    chosen = extract(response)
    exact = set(chosen or ()) == set(names_in(row, "gold_answers"))
    return {
        "parsed": chosen is not None,
        "value": chosen,
        "score": f1(*counts(row, chosen or ())),
        "metrics": {"exact_match": float(exact)},
    }


def f1(true_positives: int, false_positives: int, false_negatives: int) -> float:
    """2·TP / (2·TP + FP + FN), and 0 where nothing was right."""
    return 2 * true_positives / (2 * true_positives + false_positives + false_negatives) if true_positives else 0.0


def summarise(subset: str, scored: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The sub-set's F1 is pooled: counts are summed over the letters of all items."""
    pooled = [sum(column) for column in zip(*(counts(s["row"], s["value"] or ()) for s in scored), strict=True)]
    return {"micro_f1": f1(*pooled)}


def constant_answers(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every single letter, every set of gold letters that occurs, and all letters."""
    golds = [sorted(names_in(item["row"], "gold_answers")) for item in items]
    chosen = [*([letter] for letter in LETTERS), *golds, list(LETTERS)]
    return list(dict.fromkeys('{"answer": [' + ", ".join(f'"{letter}"' for letter in letters) + "]}" for letters in chosen))


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """What lm-eval calls for each item."""
    scored = score(as_object(doc["row"]), results[0], doc["subset"])
    return {"score": scored["score"], "parsed": float(scored["parsed"])}


def _letters(value: Any) -> list[str] | None:
    """One letter A–H or a list of at least one, in either case; anything else is no answer."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list) or not 1 <= len(parts) <= _MAX_LIST:
        return None
    letters = {one_letter(part, LETTERS) for part in parts}
    return None if None in letters else sorted(letter for letter in letters if letter)
