"""Scores answers to table/data_analysis: ``Final Answer: …`` against the gold answer, each sub-set by its own metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.taskkit.scoring.extraction import as_object

from ...shared.answers import final_answer, near_answer, rouge_l, same_answer

SUBSET_METRICS = {
    "correlation": "within_10_percent",
    "trend": "within_10_percent",
    "statistics": "within_10_percent",
    "impact": "exact_match",
    "other": "rouge_l",
}
_SUBSETS = {
    "CorrelationAnalysis": "correlation",
    "TrendForecasting": "trend",
    "StatisticalAnalysis": "statistics",
    "ImpactAnalysis": "impact",
    "DescriptiveAnalysis": "other",
    "AnomalyDetection": "other",
    "CausalAnalysis": "other",
}
QTYPE = "DataAnalysis"


def subset_of(row: Mapping[str, Any]) -> str:
    """A row names its sub-type as ``qsubtype``; what has no sub-set of its own is ``other``."""
    if row.get("qtype", QTYPE) != QTYPE:
        raise ValueError(f"qtype {row['qtype']!r} is not {QTYPE}")
    return _SUBSETS.get(str(row["qsubtype"]), "other") if row.get("qsubtype") else str(row["subset"])


def score(row: Mapping[str, Any], response: str, subset: str) -> dict[str, Any]:
    """Score one answer on 0–1: within 10 % of a number, equal to a text, or ROUGE-L."""
    answer = final_answer(response)
    gold = str(row["answer"])
    if not gold.strip():
        raise ValueError("the gold answer is empty")
    compare = {"within_10_percent": near_answer, "exact_match": same_answer, "rouge_l": rouge_l}[SUBSET_METRICS[subset]]
    value = float(compare(answer, gold)) if answer is not None else 0.0
    return {"parsed": answer is not None, "value": answer, "score": value, "metrics": {}}


def constant_answers(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every gold answer that occurs, in the asked form."""
    return list(dict.fromkeys(f"Final Answer: {item['row']['answer']}" for item in items))


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """What lm-eval calls for each item."""
    scored = score(as_object(doc["row"]), results[0], doc["subset"])
    return {"score": scored["score"], "parsed": float(scored["parsed"])}
