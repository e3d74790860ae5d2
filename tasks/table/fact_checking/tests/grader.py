"""Scores answers to table/fact_checking: ``Final Answer: …`` against the gold answer, normalised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.taskkit.scoring.extraction import as_object

from ...shared.answers import exact_match

SUBSET_METRICS = {"fact_checking": "exact_match"}
QTYPE = "FactChecking"


def subset_of(row: Mapping[str, Any]) -> str:
    """There is one sub-set; a row of another question type is none of it."""
    if row.get("qtype", QTYPE) != QTYPE:
        raise ValueError(f"qtype {row['qtype']!r} is not {QTYPE}")
    row["answer"]
    return "fact_checking"


def score(row: Mapping[str, Any], response: str, subset: str) -> dict[str, Any]:
    """1 if the final answer is the gold answer, else 0."""
    return exact_match(row, response)


def constant_answers(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every gold answer that occurs, in the asked form."""
    return list(dict.fromkeys(f"Final Answer: {item['row']['answer']}" for item in items))


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """What lm-eval calls for each item."""
    scored = score(as_object(doc["row"]), results[0], doc["subset"])
    return {"score": scored["score"], "parsed": float(scored["parsed"])}
