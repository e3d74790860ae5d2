"""Scores on the scale that a task's yardsticks span."""

from __future__ import annotations

from collections.abc import Sequence

from harness.spec.result import Reference

BASE = "base"
# A known good result on the task's hidden items: only such a yardstick spans a scale with the base, never the majority answer.
TARGET = "reference"


def normalised_score(score: float, references: Sequence[Reference]) -> float | None:
    """Return (score − base)/(reference − base): 0 is the base model, 1 the task's reference; None where the task gives none."""
    values = {r.name: r.scores.primary.value for r in references}
    if BASE not in values or TARGET not in values or values[TARGET] == values[BASE]:
        return None
    return (score - values[BASE]) / (values[TARGET] - values[BASE])
