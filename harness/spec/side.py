"""Side evaluations: what fine-tuning cost elsewhere. Reported beside a grade, base beside submission, and never ranked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.spec.base import Spec
from harness.spec.engine import EngineRecord
from harness.spec.verdict import Finite

Better = Literal["higher", "lower", "neither"]
"""Which way a measure is better; ``neither``: a change is told, and what it is worth is the reader's to say."""


class MeasureSpec(Spec):
    """What one figure of a side evaluation says."""

    description: str
    better: Better


class EvaluationSpec(Spec):
    """One side evaluation: its sub-sets, in the order in which they are shown."""

    title: str
    subsets: tuple[str, ...] = Field(min_length=1)


class SideSet(Spec):
    """``side.toml``: side evaluations over the items of one file, scored by the rules of one ``tests/grader.py``."""

    max_new_tokens: int = Field(gt=0, description="of every answer; one that is cut off there is said to be")
    max_context: int = Field(gt=0)
    evaluations: dict[str, EvaluationSpec] = Field(min_length=1)
    measures: dict[str, MeasureSpec] = Field(min_length=1, description="metrics that are shown; the grader may know others")


class SideMeasure(Spec):
    """One figure: item by item, what the base model and the submission made of the same prompts."""

    subset: str
    metric: str
    better: Better
    description: str = ""
    items: dict[str, tuple[Finite, Finite]] = Field(description="item id → (base model, submission)")


class SideResult(Spec):
    """One side evaluation of a sealed submission. Its statistics are made of the items whenever they are shown."""

    name: str
    title: str
    digest: str = Field(description="of items and rules: only results of one digest say the same")
    measures: tuple[SideMeasure, ...]
    max_new_tokens: int = Field(ge=0, description="of every answer; 0: the tasks of lm-eval say it themselves")
    engine: EngineRecord | None = None
    seconds: float = Field(0.0, ge=0, description="that the submission's answers took, all side evaluations together")
