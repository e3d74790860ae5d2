"""What `evaluate` tells an agent about its model on the dev split."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.spec.base import Spec
from harness.spec.verdict import Finite, Scores, Unit


class Interval(Spec):
    """A 95 % interval for this model over items like these (not over runs)."""

    value: Finite
    low: Finite
    high: Finite
    n: int = Field(ge=0)


class SampledError(Spec):
    """One dev item the model got wrong. ``answer`` is present only where the task's feedback policy shows it."""

    item: str
    subset: str
    prompt: str
    response: str
    answer: Any = None
    parsed: bool
    score: Unit


class Change(Spec):
    """The paired difference on the same dev items against an earlier evaluation."""

    against: int = Field(description="number of the earlier evaluation")
    difference: Finite = Field(description="of the primary score")
    standard_error: Finite = Field(description="of that difference, over items like these")
    wins: int = Field(description="items whose own score is higher now")
    losses: int
    ties: int


class Feedback(Spec):
    """Structured feedback of one metered dev evaluation."""

    evaluation: int = Field(ge=1, description="1 for the first evaluation of the run")
    scores: Scores
    primary: Interval
    subsets: dict[str, Interval]
    errors: tuple[SampledError, ...] = Field(
        (), description="drawn from a quarter of each sub-set, which is the same in every evaluation and run"
    )
    response_tokens: dict[str, float] = Field(default_factory=dict, description="mean, p50, p95, max, at_cap (share cut off)")
    response_chars: dict[str, float] = Field(default_factory=dict)
    since_last: Change | None = None
    since_best: Change | None = None
    item_scores: dict[str, Unit] = Field(default_factory=dict, description="dev item id → score, for paired comparison")
    pseudo_values: dict[str, Finite] = Field(
        default_factory=dict,
        description="dev item id → jackknife pseudo-value, for items of sub-sets whose metric is no mean of item scores (F1): "
        "compare two models by these, and by item scores where there are none",
    )
    seconds: float = Field(0.0, ge=0)
    evaluations_left: int = Field(0, ge=0)
