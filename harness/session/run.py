"""`Runner`: the one place where a run is put together from the store, the library and a backend, and driven.

`dojo submit` drives many in threads; ``dojo run RUN`` drives one and is what a job of a cluster executes.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from functools import partial

from harness.sandbox.base import Backend
from harness.sandbox.registry import get_backend
from harness.session.artefacts import bring_back, put_away
from harness.session.assets import Library
from harness.session.cheating import judged
from harness.session.finish import finish
from harness.session.grade_phase import ended, grade_as_broken, grade_sealed, look_at_sealed
from harness.session.journal import Journal
from harness.session.lifecycle import RunSession
from harness.session.record import RunRecord
from harness.session.side_phase import side_as_planned, side_sealed
from harness.session.site import RunSite
from harness.spec.errors import DojoError, MissingError, SealBroken, StoreError, UsageError
from harness.spec.event import Failed
from harness.spec.outcome import Outcome, RunState
from harness.spec.result import GradeRecord
from harness.spec.run import RunSpec
from harness.store.base import AWAY, Lease, Store
from harness.store.run_dir import EventListener, RunDir

# Twice what a lease lasts that nobody renews (`store.leases.TTL_S`).
_TAKE_OVER_S, _AGAIN_S = 60.0, 1.0
_STOPPED_WITHIN_S = 0.2
# Phases that need the backbone: the agent is not done yet.
_BEFORE_THE_SEAL = (RunState.QUEUED, RunState.PREPARING, RunState.RUNNING)


class Runner:
    """Drives runs of one store, wherever they stand.

    Args:
        store: where they are recorded.
        library: where their tasks, data and base models are found.
        backends: gives a sandbox backend by name.
        artefacts: address of the place where runs that have ended are put; "": nowhere.
    """

    def __init__(
        self, store: Store, library: Library, backends: Callable[[str], Backend] = get_backend, artefacts: str = ""
    ) -> None:
        self.store, self.library, self.backends, self.artefacts = store, library, backends, artefacts

    def drive(self, run: str, stop: threading.Event | None = None, listener: EventListener | None = None) -> RunState:
        """Go on from wherever the run stands, to its end or until ``stop`` is set; return the state it was left in.

        Raises:
            StoreError: another live process drives it (code ``busy``) or took it over (``lost``), or nothing can be written.
            NotFoundError: there is no such run.
            MissingError: the run's backbone is not configured here, or its key is not set; the run is left as it is.
        """
        folder = self.store.files(run)
        with self.store.claim(run) as lease:
            spec = folder.spec()
            journal = self._journal(spec, folder, lease, listener)
            self._mend(spec, folder, journal)
            if spec.backbone is not None and journal.record.state in _BEFORE_THE_SEAL:
                self.library.backbone(
                    spec.backbone, self.store
                )  # missing here, it may be there where the run is resumed: nothing is ended
            session = RunSession(
                spec, journal, self.store, self.backends(spec.sandbox), self.library, _Stop(stop or threading.Event(), lease.lost)
            )
            ended = journal.record.state.final
            state = session.drive()
            if state.final and not ended:
                put_away(self.artefacts, journal)
            return state

    def take_over(self, run: str, stop: threading.Event | None = None, listener: EventListener | None = None) -> RunState:
        """Drive a run as `drive` does; one that another process drives is waited for as long as a dead one's lease may last.

        A database that is away at first is waited for as long.

        Raises:
            StoreError: as `drive`; another process still drives it (code ``busy``).
        """
        stop, until = stop or threading.Event(), time.monotonic() + _TAKE_OVER_S
        while True:
            try:
                return self.drive(run, stop, listener)
            except StoreError as exc:
                if exc.code not in ("busy", AWAY) or time.monotonic() > until or stop.wait(_AGAIN_S):
                    raise

    def regrade(self, run: str) -> GradeRecord:
        """Grade a run that has ended once more and write its end anew; the history is kept, the newest grade counts.

        A run whose grader failed before becomes ``done`` when the agent's own outcome counts.

        Raises:
            UsageError: the run was cancelled, goes on, or never got as far as a sealed submission.
            SealBroken: what was sealed is missing or altered; the earlier grades stand.
            GraderFailure: the grader broke; the earlier grades stand.
        """
        folder = self.store.files(run)
        with self.store.claim(run) as lease:
            spec = folder.spec()
            journal = self._journal(spec, folder, lease, None)
            record = journal.record
            outcome = judged(record, _gradable(record, run))
            bring_back(self.artefacts, folder, record)
            assert outcome is not None
            assets, backend = self.library.assets(spec), self.backends(spec.sandbox)
            site = RunSite(spec, folder, backend, assets, record.attempt, partial(self.library.open_backbone, self.store))
            try:
                grade = grade_sealed(site, record, number=len(record.grades) + 1)
            except DojoError as exc:
                journal.emit(Failed(where="grade", **exc.as_dict()))
                if record.grades or record.sealed is None or isinstance(exc, SealBroken | MissingError | StoreError):
                    raise
                try:
                    grade = grade_as_broken(site, 1, exc.message)  # what has never been graded is not left without a score
                except DojoError as other:
                    journal.emit(Failed(where="grading the base model", **other.as_dict()))
                    raise exc from other
            finally:
                site.destroy("grade")
            journal.grade(grade)
            side_as_planned(site, journal, self.library.cache)
            outcome = judged(journal.record, ended(journal.record)) or outcome
            finish(spec, journal, self.store, outcome, self.library.references(spec, assets, backend))
            put_away(self.artefacts, journal)
            return journal.record.grades[-1]

    def side(self, run: str, names: tuple[str, ...]) -> GradeRecord:
        """Measure a graded run's submission on side evaluations and write its end anew; return its newest grade with them.

        Raises:
            NotFoundError: there is no such side evaluation.
            UsageError: the run has no grade, or handed nothing in.
            SealBroken, GraderFailure: as `regrade`; the grade stands as it was.
        """
        folder = self.store.files(run)
        with self.store.claim(run) as lease:
            spec = folder.spec()
            journal = self._journal(spec, folder, lease, None)
            record = journal.record
            as_agent = _gradable(record, run)
            bring_back(self.artefacts, folder, record)
            assets, backend = self.library.assets(spec), self.backends(spec.sandbox)
            site = RunSite(spec, folder, backend, assets, record.attempt, partial(self.library.open_backbone, self.store))
            try:
                side_sealed(site, journal, names, self.library.cache)
            finally:
                site.destroy("grade")
            references = self.library.references(spec, assets, backend)
            finish(spec, journal, self.store, record.outcome or as_agent, references)
            put_away(self.artefacts, journal)
            return journal.record.grades[-1]

    def look(self, run: str, limit: int) -> GradeRecord:
        """Score a run that has ended on the first ``limit`` hidden items; nothing of it is kept, and its grades stand.

        Raises:
            UsageError, SealBroken, GraderFailure: as `regrade`.
        """
        folder = self.store.files(run)
        with self.store.claim(run) as lease:
            spec = folder.spec().model_copy(update={"limit": limit})
            record = self._journal(spec, folder, lease, None).record
            _gradable(record, run)
            bring_back(self.artefacts, folder, record)
            backend, assets = self.backends(spec.sandbox), self.library.assets(spec)
            site = RunSite(spec, folder, backend, assets, record.attempt, partial(self.library.open_backbone, self.store))
            try:
                return look_at_sealed(site, record)
            finally:
                site.destroy("grade")

    def _journal(self, spec: RunSpec, folder: RunDir, lease: Lease, listener: EventListener | None) -> Journal:
        def on_state(state: RunState) -> None:
            if not state.final:  # the end goes into the index together with its result
                self.store.record_state(spec.id, state)

        return Journal(folder, on_state, listener, lease.held)

    def _mend(self, spec: RunSpec, folder: RunDir, journal: Journal) -> None:
        """Bring result.json and the index up to what the events say: a crash, or damage, may have come between them."""
        record = journal.record
        if not record.state.final:
            self.store.record_state(spec.id, record.state)
            return
        try:
            result = folder.result()
        except StoreError:
            result = None
        if result is not None:
            self.store.record_result(result)
        elif record.outcome is not None:
            graded = bool(record.grades)
            references = self.library.references(spec, self.library.assets(spec), self.backends(spec.sandbox)) if graded else ()
            finish(spec, journal, self.store, record.outcome, references)


def _gradable(record: RunRecord, run: str) -> Outcome:
    """Return how the agent ended in a run that may be graded again.

    Raises:
        UsageError: the run was cancelled, goes on, or never got as far as a sealed submission.
    """
    if not record.state.final:
        raise UsageError(f"run {run} has not ended", hint="`dojo status` shows where it stands")
    outcome = record.agent_outcome
    if outcome is None or not outcome.graded or record.state is RunState.CANCELLED:
        raise UsageError(f"run {run} has nothing to grade", hint=f"`dojo show {run}` says how it ended")
    return outcome


class _Stop(threading.Event):
    """Set when either of two events is: the caller's, or that of a lease that was lost."""

    def __init__(self, asked: threading.Event, lost: threading.Event) -> None:
        super().__init__()
        self._asked, self._lost = asked, lost

    def is_set(self) -> bool:
        return self._asked.is_set() or self._lost.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Return whether one of them is set within so many seconds."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        while not self.is_set() and time.monotonic() < end:
            time.sleep(min(_STOPPED_WITHIN_S, max(0.0, end - time.monotonic())))
        return self.is_set()
