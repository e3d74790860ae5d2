"""RunResult: the whole story of a finished run, written once to result.json."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from harness.spec.base import Spec
from harness.spec.budget import Budget, Usage
from harness.spec.engine import EngineName, EngineRecord
from harness.spec.gpu import GpuUse
from harness.spec.outcome import Outcome, RunState
from harness.spec.run import RunSpec
from harness.spec.side import SideResult
from harness.spec.submission import Manifest, SubmissionReport
from harness.spec.task import Limits
from harness.spec.verdict import Scores


class Reference(Spec):
    """A yardstick on the same hidden items: base, few-shot base, or majority answer per question type."""

    name: str
    scores: Scores
    ci_low: float
    ci_high: float
    item_scores: dict[str, float] = Field(default_factory=dict, description="hidden item id → score; grader's side only")
    pseudo_values: dict[str, float] = Field(default_factory=dict, description="as in GradeRecord")
    engine: EngineName = Field("transformers", description="what computed the answers of the references that are models")


class GradeRecord(Spec):
    """One grading of the sealed submission. History is kept; the last one counts."""

    number: int = Field(ge=1)
    time: datetime
    scores: Scores
    ci_low: float
    ci_high: float
    item_scores: dict[str, float] = Field(description="hidden item id → score; grader's side only")
    item_subsets: dict[str, str] = Field(
        default_factory=dict, description="hidden item id → sub-set; may be empty where the task has one sub-set"
    )
    pseudo_values: dict[str, float] = Field(
        default_factory=dict,
        description="item id → delete-one jackknife pseudo-value, for items of sub-sets whose metric is no mean of item scores",
    )
    failures: dict[str, str] = Field(
        default_factory=dict,
        description="hidden items on whose answer the task's grader broke (they count as wrong) → where and how",
    )
    verdict_sha256: str
    seconds: float
    settings: dict[str, Any] = Field(default_factory=dict)
    engine: EngineRecord | None = Field(EngineRecord(), description="what computed the answers; None: nothing was handed in")
    side: tuple[SideResult, ...] = Field((), description="side evaluations: what fine-tuning cost elsewhere; never ranked")

    def with_side(self, results: tuple[SideResult, ...]) -> GradeRecord:
        """Return the grade with side evaluations; one that it has already is replaced by the newer of its name."""
        named = {result.name: result for result in (*self.side, *results)}
        return self.model_copy(update={"side": tuple(named.values())})


class PhaseTime(Spec):
    """When a phase was entered and how long it took, seconds of real time."""

    state: RunState
    entered: datetime
    seconds: float | None = None


class BackboneUse(Spec):
    """How a run used its backbone; what it cost stands in ``usage``."""

    calls: int = Field(0, description="that went upstream")
    answered: int = 0
    refused: int = Field(0, description="that the gateway let nobody answer: not allowed, malformed, beyond the budget")
    outage_s: float = Field(0.0, description="seconds the backbone was down by the gateway's own probe; the agent paid no time")


class RunResult(Spec):
    """Outcome, scores, usage, artefacts and timeline of one run. Paths are relative to the run's folder."""

    spec: RunSpec
    state: RunState
    outcome: Outcome
    grade: GradeRecord | None = None
    grades: int = 0
    references: tuple[Reference, ...] = ()
    budget: Budget
    usage: Usage
    sandboxes: dict[str, Limits] = Field(
        default_factory=dict, description="role (task, agent) → what that sandbox of the agent had; together the task's limits"
    )
    submission: Manifest | None = None
    submission_report: SubmissionReport | None = None
    submissions: int = 0
    evaluations: int = 0
    backbone: BackboneUse | None = Field(None, description="None: the run had no backbone")
    gpus: tuple[GpuUse, ...] = Field((), description="of the agent phase; empty where none were watched")
    trajectory_steps: int | None = Field(None, description="of trajectory.json; None: it could not be written")
    best_dev: float | None = None
    integrity: dict[str, Any] = Field(default_factory=dict)
    timeline: tuple[PhaseTime, ...] = ()
    artefacts: dict[str, str] = Field(default_factory=dict, description="name → relative path")
