"""Data of table/data_analysis. ``mini``: statistics of packaged tables. ``full``: TableBench's DataAnalysis and TableInstruct."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.taskkit.building.data import BuildContext, TaskData

from ..shared.packaged import VEGA
from ..shared.tablebench import BENCH, INSTRUCT, TableTask, wrong_final
from .questions import anomaly, correlation, impact, mean, median, summary, trend

SUBSETS = {
    "CorrelationAnalysis": "correlation",
    "TrendForecasting": "trend",
    "StatisticalAnalysis": "statistics",
    "ImpactAnalysis": "impact",
}
"""TableBench's sub-types with a sub-set of their own; all others are ``other``."""


def build(profile: str, context: BuildContext) -> TaskData:
    """Build the data of one profile."""
    return TASK.build(profile, context)


def subset_of(row: Mapping[str, Any]) -> str:
    """The sub-set of a row of TableBench."""
    return SUBSETS.get(str(row["qsubtype"]), "other")


TASK = TableTask(
    name="data_analysis",
    qtype="DataAnalysis",
    subset_of=subset_of,
    suffix="Reply as Final Answer: ...",
    full_suffix="Think first if you need to. End with one line `Final Answer: ...` that holds nothing but the answer.",
    kinds={
        "correlation": {"correlation": correlation},
        "trend": {"trend": trend},
        "statistics": {"mean": mean, "median": median},
        "impact": {"impact": impact},
        "other": {"summary": summary, "anomaly": anomaly},
    },
    counts={"dev": 12, "hidden": 36, "few_shot": 2},
    wrong=wrong_final,
)

# what each profile is made from, for `dojo data prepare --dry-run`
FETCHES = {"mini": (VEGA,), "full": (BENCH, INSTRUCT)}
