"""Scoring a sealed submission again: the history is kept, the newest grade counts."""

from __future__ import annotations

from harness.sandbox.base import Backend
from harness.session.grade_phase import build_result, grade_sealed
from harness.session.journal import Journal
from harness.session.lifecycle import References, Resolve
from harness.session.place import Place
from harness.spec.errors import UsageError
from harness.spec.event import EventKind
from harness.spec.outcome import RunState
from harness.spec.result import GradeRecord
from harness.spec.run import RunSpec
from harness.store.database import Store
from harness.store.run_dir import RunDir


def regrade(spec: RunSpec, run: RunDir, store: Store, backend: Backend, resolve: Resolve, references: References) -> GradeRecord:
    """Grade a run that has ended once more and write its result anew.

    A run whose grader failed before becomes ``done`` when the agent's own outcome counts.

    Raises:
        UsageError: the run was cancelled or never got as far as a sealed submission.
        GraderFailure: the grader broke; the earlier grades stand.
    """
    with run.driving():
        journal = Journal(run, lambda state: store.update_run(spec.id, state=state))
        record = journal.record
        outcome = record.agent_outcome
        if outcome is None or not outcome.graded or record.state is RunState.CANCELLED:
            raise UsageError(f"run {spec.id} has nothing to grade", hint=f"`dojo show {spec.id}` says how it ended")
        assets = resolve(spec, lambda _line: None)
        place = Place(spec, run, backend, assets, record.attempt)
        try:
            grade = grade_sealed(place, run, number=len(record.grades) + 1)
        finally:
            place.destroy("grade")
        journal.emit(EventKind.GRADED, grade.model_dump(mode="json"))
        state = RunState.DONE if outcome.counts else record.state
        if journal.record.outcome != outcome:
            journal.emit(EventKind.OUTCOME, outcome.model_dump(mode="json"))
        if journal.record.state is not state:
            journal.enter(state)
        run.write_result(build_result(spec, run, journal.record, outcome, state, references(spec, assets)))
        store.update_run(
            spec.id,
            state=state,
            cause=outcome.cause.value,
            score=grade.scores.primary.value,
            ci_low=grade.ci_low,
            ci_high=grade.ci_high,
        )
        return grade
