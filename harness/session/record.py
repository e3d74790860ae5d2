"""What is known of a run: its events folded into one frozen value. Everything a restart needs is in here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from harness.spec.event import Event, EventKind
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


@dataclass(frozen=True)
class RunRecord:
    """A run as its events tell it.

    Attributes:
        attempt: 1 for the first try; infrastructure failures start another.
        clock_started: when the budget clock of this attempt started (UTC), or None.
        notes: idempotency keys of the notes taken.
        elapsed_s: the clock when it stopped, or at the last event.
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
    agent_exit: int | None = None
    agent_exited: bool = False
    survivors: int | None = None
    agent_outcome: Outcome | None = None
    sealed: dict[str, Any] | None = None
    grades: tuple[GradeRecord, ...] = ()
    outcome: Outcome | None = None
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
    data = event.data
    record = replace(record, elapsed_s=max(record.elapsed_s, event.elapsed_s))
    match event.kind:
        case EventKind.STATE:
            state = RunState(data["state"])
            record = replace(record, state=state, timeline=_enter(record.timeline, state, event.time))
            if state is RunState.QUEUED:  # another attempt: everything of the agent starts anew
                return RunRecord(
                    attempt=int(data["attempt"]), timeline=record.timeline, state=state, sealed=None, grades=record.grades
                )
            return record
        case EventKind.CLOCK_STARTED:
            return replace(record, clock_started=event.time, clock_stopped=False, elapsed_s=0.0)
        case EventKind.CLOCK_STOPPED:
            return replace(record, clock_stopped=True, usage=data["usage"])
        case EventKind.AGENT_EXITED:
            return replace(record, agent_exited=True, agent_exit=data.get("exit_code"))
        case EventKind.SUBMIT:
            submission = Submission(data["submission"], data["key"], data["digest"], data["answer"])
            return replace(record, submissions=(*record.submissions, submission))
        case EventKind.EVALUATE:
            feedback = data["feedback"]
            evaluation = Evaluation(
                data["evaluation"], data["key"], data["digest"], feedback["scores"]["primary"]["value"], feedback
            )
            return replace(record, evaluations=(*record.evaluations, evaluation))
        case EventKind.NOTE:
            return replace(record, notes=record.notes | {data.get("key", "")})
        case EventKind.BUDGET_WARNING:
            return replace(record, warned=record.warned | {(data["dimension"], data["share"])})
        case EventKind.KILLED:
            return replace(record, survivors=data["survivors"])
        case EventKind.OUTCOME:
            outcome = Outcome.model_validate(data)
            return replace(record, outcome=outcome, agent_outcome=record.agent_outcome or outcome)
        case EventKind.SEALED:
            return replace(record, sealed=data)
        case EventKind.GRADED:
            return replace(record, grades=(*record.grades, GradeRecord.model_validate(data)))
        case _:
            return record


def _enter(timeline: tuple[PhaseTime, ...], state: RunState, time: datetime) -> tuple[PhaseTime, ...]:
    if timeline and timeline[-1].seconds is None:
        last = timeline[-1]
        seconds = max(0.0, (time - last.entered).total_seconds())
        timeline = (*timeline[:-1], last.model_copy(update={"seconds": seconds}))
    return (*timeline, PhaseTime(state=state, entered=time))
