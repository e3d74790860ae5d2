"""One line of a run's events.jsonl: append-only, the source of truth."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from harness.spec.base import Spec


class EventKind(StrEnum):
    """What can happen in a run."""

    STATE = "state"  # data: {state, ...}
    CLOCK_STARTED = "clock_started"
    CLOCK_STOPPED = "clock_stopped"
    AGENT_STARTED = "agent_started"  # data: {process}
    AGENT_EXITED = "agent_exited"  # data: {exit_code, ...}
    ATTACHED = "attached"  # a new harness process took the run over
    EXEC = "exec"
    FILE = "file"
    VALIDATE = "validate"
    EVALUATE = "evaluate"  # data: {evaluation, key, feedback}
    SUBMIT = "submit"  # data: {submission, key, digest, ...}
    NOTE = "note"
    BUDGET_WARNING = "budget_warning"  # data: {dimension, share}
    BUDGET_EXHAUSTED = "budget_exhausted"
    KILLED = "killed"  # data: {survivors}
    SEALED = "sealed"  # data: {digest, files, bytes}
    GRADED = "graded"  # data: {primary, ...}
    INTEGRITY = "integrity"
    ERROR = "error"
    OUTCOME = "outcome"


class Event(Spec):
    """One event. ``seq`` counts from 0 without gaps; ``elapsed_s`` is the budget clock's wall time."""

    seq: int = Field(ge=0)
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    elapsed_s: float = Field(0.0, ge=0)
    kind: EventKind
    data: dict[str, Any] = Field(default_factory=dict)
