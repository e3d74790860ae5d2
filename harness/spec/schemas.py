"""JSON schemas of everything users write or read."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from harness.spec.agent import AgentConfig
from harness.spec.budget import Budget
from harness.spec.event import event_schema
from harness.spec.feedback import Feedback
from harness.spec.matrix import Matrix
from harness.spec.outcome import Outcome
from harness.spec.result import RunResult
from harness.spec.run import RunSpec
from harness.spec.submission import Manifest, SubmissionReport
from harness.spec.task import TaskConfig
from harness.spec.verdict import Verdict

_MODELS: dict[str, type[BaseModel]] = {
    "task": TaskConfig,
    "agent": AgentConfig,
    "matrix": Matrix,
    "budget": Budget,
    "run": RunSpec,
    "outcome": Outcome,
    "result": RunResult,
    "feedback": Feedback,
    "verdict": Verdict,
    "submission": SubmissionReport,
    "manifest": Manifest,
}


def schemas() -> dict[str, dict[str, Any]]:
    """Return name → JSON schema (draft 2020-12)."""
    found = {name: model.model_json_schema() for name, model in _MODELS.items()}
    return {**found, "event": event_schema()}
