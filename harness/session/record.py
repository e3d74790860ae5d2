"""What is known of a run: its events folded into one frozen value. Everything a restart needs is in here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from harness.gateway.ledger import Ledger
from harness.spec.event import (
    AgentExited,
    BudgetWarning,
    ClockStarted,
    ClockStopped,
    Ended,
    Entered,
    Evaluated,
    Event,
    Failed,
    GpuHeld,
    Graded,
    Integrity,
    Killed,
    LlmCalled,
    LlmOutage,
    LlmRefused,
    LlmReserved,
    Noted,
    Sealed,
    SideEvaluated,
    Submitted,
)
from harness.spec.outcome import Outcome, RunState
from harness.spec.result import GradeRecord, PhaseTime


@dataclass(frozen=True)
class Submission:
    """A submission that was acknowledged to the agent."""

    number: int
    key: str
    digest: str
    answer: dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """A metered evaluation that was acknowledged to the agent; ``scored`` is the primary score on the dev split."""

    number: int
    key: str
    digest: str
    primary: float
    answer: dict[str, Any]

    @classmethod
    def of(cls, said: Evaluated) -> Evaluation:
        """Read it from its event."""
        feedback = said.feedback.model_dump(mode="json")
        return cls(said.evaluation, said.key, said.digest, said.feedback.scores.primary.value, feedback)


@dataclass(frozen=True)
class RunRecord:
    """A run as its events tell it.

    Attributes:
        attempt: 1 for the first try; infrastructure failures start another.
        clock_started: when the budget clock of this attempt started (UTC), or None.
        notes: idempotency keys of the notes taken.
        elapsed_s: the clock when it stopped, or at the last event.
        overshoot_s: seconds from the end of the agent's time until nothing of it ran any more; None where nobody measured.
        failures: where something broke in this attempt, oldest first.
        gpu_held: what was still on the GPUs when the agent's sandboxes had ended; None: nobody looked, or nothing.
        integrity: what integrity checks found, by name.
        ledger: what went through the LLM gateway in this attempt.
    """

    state: RunState = RunState.QUEUED
    attempt: int = 1
    clock_started: datetime | None = None
    clock_stopped: bool = False
    elapsed_s: float = 0.0
    timeline: tuple[PhaseTime, ...] = ()
    submissions: tuple[Submission, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    notes: frozenset[str] = frozenset()
    warned: frozenset[tuple[str, float]] = frozenset()
    usage: dict[str, Any] | None = None
    overshoot_s: float | None = None
    agent_exit: int | None = None
    agent_exited: bool = False
    survivors: int | None = None
    gpu_held: GpuHeld | None = None
    agent_outcome: Outcome | None = None
    sealed: Sealed | None = None
    grades: tuple[GradeRecord, ...] = ()
    outcome: Outcome | None = None
    failures: tuple[str, ...] = ()
    integrity: dict[str, Any] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    last_event: Event | None = None

    @property
    def best_evaluation(self) -> Evaluation | None:
        """The evaluation with the highest dev score; the first of equals."""
        return max(self.evaluations, key=lambda e: (e.primary, -e.number), default=None)


def fold(events: Iterable[Event], record: RunRecord | None = None) -> RunRecord:
    """Fold events into a record, starting from ``record`` or from a queued run."""
    record = record or RunRecord()
    for event in events:
        record = replace(_apply(record, event), last_event=event)
    return record


def _apply(record: RunRecord, event: Event) -> RunRecord:
    record = replace(record, elapsed_s=max(record.elapsed_s, event.elapsed_s))
    match event.data:
        case Entered(state=state, attempt=attempt):
            timeline = _enter(record.timeline, state, event.time)
            if state is RunState.QUEUED:  # another attempt: everything of the agent starts anew
                return RunRecord(attempt=attempt or record.attempt + 1, timeline=timeline, state=state, grades=record.grades)
            return replace(record, state=state, timeline=timeline)
        case ClockStarted():
            return replace(record, clock_started=event.time, clock_stopped=False, elapsed_s=0.0)
        case ClockStopped(usage=usage, overshoot_s=overshoot_s):
            return replace(record, clock_stopped=True, usage=usage, overshoot_s=overshoot_s)
        case AgentExited(exit_code=exit_code):
            return replace(record, agent_exited=True, agent_exit=exit_code)
        case Submitted() as said:
            submission = Submission(said.submission, said.key, said.digest, said.answer)
            return replace(record, submissions=(*record.submissions, submission))
        case Evaluated() as said:
            return replace(record, evaluations=(*record.evaluations, Evaluation.of(said)))
        case Noted(key=key):
            return replace(record, notes=record.notes | {key})
        case BudgetWarning(dimension=dimension, share=share):
            return replace(record, warned=record.warned | {(dimension, share)})
        case Killed(survivors=survivors):
            return replace(record, survivors=survivors)
        case GpuHeld() as found if record.clock_stopped:
            return replace(record, gpu_held=found)
        case Ended() as outcome:
            ended = Outcome.model_validate(outcome.model_dump(include=set(Outcome.model_fields)))
            return replace(record, outcome=ended, agent_outcome=record.agent_outcome or ended)
        case Sealed() as sealed:
            return replace(record, sealed=sealed)
        case Graded() as graded:
            grade = GradeRecord.model_validate(graded.model_dump(include=set(GradeRecord.model_fields)))
            return replace(record, grades=(*record.grades, grade))
        case SideEvaluated(grade=number, results=results):
            grades = tuple(grade.with_side(results) if grade.number == number else grade for grade in record.grades)
            return replace(record, grades=grades)
        case LlmReserved() | LlmCalled() | LlmRefused() | LlmOutage() as said:
            return replace(record, ledger=record.ledger.after(said))
        case Integrity() as found:
            return replace(record, integrity={**record.integrity, **found.model_dump()})
        case Failed(where=where):
            return replace(record, failures=(*record.failures, where))
        case _:
            return record


def _enter(timeline: tuple[PhaseTime, ...], state: RunState, time: datetime) -> tuple[PhaseTime, ...]:
    if timeline and timeline[-1].seconds is None:
        last = timeline[-1]
        seconds = max(0.0, (time - last.entered).total_seconds())
        timeline = (*timeline[:-1], last.model_copy(update={"seconds": seconds}))
    return (*timeline, PhaseTime(state=state, entered=time))
