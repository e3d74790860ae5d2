"""What a grader says about one submission on one split. Checked before anyone believes it."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from harness.spec.base import Spec
from harness.spec.engine import EngineRecord

Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e12, le=1e12)]
Unit = Annotated[float, Field(allow_inf_nan=False, ge=0.0, le=1.0)]

# A verdict names every item once; the largest benchmark here has under 1,000 (TASKS.md), so 100,000 is generous.
MAX_ITEMS = 100_000


class Metric(Spec):
    """A named value with its direction."""

    name: str
    value: Finite
    higher_is_better: bool = True


class ItemScore(Spec):
    """One item's score on 0–1; ``parsed`` says that an answer of the asked form was found."""

    id: str = Field(max_length=200)
    subset: str = Field(max_length=200)
    parsed: bool
    score: Unit
    metrics: dict[str, Finite] = Field(default_factory=dict, description="further per-item figures, by metric name")
    value: Any = Field(None, description="the answer that was found (JSON-able), for metrics that are no mean of scores")
    failure: str = Field(
        "",
        max_length=300,
        description="where and how the task's grader broke on this answer, which counts as none; empty: it did not",
    )
    response_sha256: str = Field("", max_length=64)
    response_chars: int = Field(0, ge=0)
    response_tokens: int = Field(0, ge=0)


class Scores(Spec):
    """The figures of one split: pure functions of the items."""

    primary: Metric
    metrics: dict[str, Finite] = Field(default_factory=dict)
    subsets: dict[str, dict[str, Finite]] = Field(default_factory=dict, description="sub-set → metric → value")
    parse_rate: Unit
    items: int = Field(ge=0)


class Verdict(Spec):
    """Scores with the items they come from and how they were made."""

    split: str
    scores: Scores
    items: tuple[ItemScore, ...] = Field(max_length=MAX_ITEMS)
    settings: dict[str, Any] = Field(default_factory=dict, description="generation settings, versions, digests")
    seconds: float = Field(0.0, ge=0, allow_inf_nan=False)
    engine: EngineRecord | None = Field(EngineRecord(), description="what computed the answers; None: nothing was handed in")

    @property
    def failures(self) -> dict[str, str]:
        """Items on whose answer the task's grader broke → where and how."""
        return {item.id: item.failure for item in self.items if item.failure}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ids = [item.id for item in self.items]
        if len(set(ids)) != len(ids):
            raise ValueError("a verdict scores each item once; an id occurs twice")
        if len(ids) != self.scores.items:
            raise ValueError(f"a verdict of {self.scores.items} items lists {len(ids)}")
        return self
