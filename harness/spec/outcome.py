"""How a run ended. Kept apart from the score."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from harness.spec.base import Spec


class RunState(StrEnum):
    """Where a run stands: each transition is one event and one database write."""

    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    COLLECTING = "collecting"
    SEALED = "sealed"
    GRADING = "grading"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing happens to the run any more without being asked."""
        return self in (RunState.DONE, RunState.FAILED, RunState.CANCELLED)


class Cause(StrEnum):
    """Why a run ended as it did; see the table in docs/architecture.md."""

    COMPLETED = "completed"
    SANDBOX = "sandbox"
    SCHEDULING = "scheduling"
    EVICTED = "evicted"
    HARNESS = "harness"
    MODEL_PROVIDER = "model_provider"
    AGENT_BUDGET = "agent_budget"
    AGENT_ERROR = "agent_error"
    AGENT_INTEGRITY = "agent_integrity"
    GRADER = "grader"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Death:
    """Why a sandbox is gone or never came up: ``text`` is one sentence for people.

    ``cause`` is SANDBOX, EVICTED (a scheduler took the place away), SCHEDULING (there was no place for it) or AGENT_ERROR (who
    worked in it brought it to its end, at a limit of its own).
    """

    cause: Cause
    text: str


_RETRIED = {Cause.SANDBOX, Cause.SCHEDULING, Cause.EVICTED, Cause.HARNESS, Cause.MODEL_PROVIDER, Cause.GRADER}
_GRADED = {
    Cause.COMPLETED, Cause.MODEL_PROVIDER, Cause.AGENT_BUDGET, Cause.AGENT_ERROR, Cause.AGENT_INTEGRITY, Cause.GRADER,
}  # fmt: skip
_COUNTS = {Cause.COMPLETED, Cause.AGENT_BUDGET, Cause.AGENT_ERROR, Cause.AGENT_INTEGRITY}


class Outcome(Spec):
    """How the agent phase (or the whole run) ended."""

    cause: Cause
    phase: str = Field(description="the phase that decided it: prepare, agent, collect, seal, grade, record")
    message: str = Field("", description="one sentence for people")
    exit_code: int | None = Field(None, description="of the agent program, where it exited by itself")

    @property
    def retried(self) -> bool:
        """Whether the harness may try the run again by itself."""
        return self.cause in _RETRIED

    @property
    def graded(self) -> bool:
        """Whether what was handed in is scored."""
        return self.cause in _GRADED

    @property
    def counts(self) -> bool:
        """Whether the score is a measurement of the agent."""
        return self.cause in _COUNTS
