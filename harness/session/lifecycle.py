"""One run as a state machine: queued → preparing → running → collecting → sealed → grading → done | failed | cancelled.

Each step reads the record (events folded), does its work and makes one transition. A step that a crash cut off is done again
from the record; what was acknowledged (submissions, evaluations, grades) is never done twice.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import threading
import time
import traceback
from functools import partial
from shutil import disk_usage
from typing import TYPE_CHECKING

from harness.files import write_atomic
from harness.sandbox.base import Backend
from harness.session.agent_phase import AgentPhase, own_doing
from harness.session.assets import Assets, Library
from harness.session.cheating import judged, search_for_cheating
from harness.session.collect import manifest_of, seal, unseal_and_remove
from harness.session.finish import finish
from harness.session.grade_phase import ended, grade_as_broken, grade_sealed
from harness.session.journal import Journal
from harness.session.keep import keep_workspace
from harness.session.side_phase import side_as_planned
from harness.session.site import RunSite
from harness.session.talk_scan import scan_talk
from harness.spec.errors import DojoError, GraderFailure, MissingError, SandboxError, SandboxUnavailable, SealBroken, StoreError
from harness.spec.event import Attached, Ended, Failed, Integrity, Killed, Sealed
from harness.spec.outcome import Cause, Outcome, RunState
from harness.spec.result import Reference
from harness.spec.run import RunSpec
from harness.store.base import Store
from harness.taskkit.scoring.plain import plain_text

if TYPE_CHECKING:
    from harness.session.gpu_watch import GpuMemory

AFTER = "DOJO_AFTER"
"""Variable by which an executor says what became of the process that drove the run before."""

# Longer than a scheduler lets a pod rest that it could not place (10 s): who was given way to is looked at before us.
_STAND_BACK_S = (15.0, 30.0)
_LOOK_S = 0.5
# With less, bytes, a file system is full; a sandbox that is says the same of its own.
_ROOM = 1 << 20
# Infrastructure failures are tried again by themselves; a third failure is no accident.
MAX_ATTEMPTS = 3
_PHASE = {
    RunState.QUEUED: "prepare",
    RunState.PREPARING: "prepare",
    RunState.RUNNING: "agent",
    RunState.COLLECTING: "collect",
    RunState.SEALED: "grade",
    RunState.GRADING: "grade",
}


class RunSession:
    """Drives one run that this process has claimed, to its end or until ``stop`` is set.

    Args:
        spec: the frozen run.
        journal: its events.
        store: where it is recorded.
        backend: where its sandboxes are made.
        library: where its task, data and base model are found.
        stop: set to leave the run resumable and return soon.
    """

    def __init__(
        self, spec: RunSpec, journal: Journal, store: Store, backend: Backend, library: Library, stop: threading.Event
    ) -> None:
        self._spec, self._journal, self._store, self._backend = spec, journal, store, backend
        self._library, self._stop = library, stop
        self._run = journal.run

    def drive(self) -> RunState:
        """Go on from wherever the run stands; return the state it was left in.

        Raises:
            StoreError: nothing can be written, or another process took the run over (code ``lost``).
        """
        record = self._journal.record
        if record.last_event is not None and not record.state.final:
            # an executor that begins a run anew says what became of its runner
            self._journal.emit(Attached(state=record.state, after=os.environ.get(AFTER) or None))
        while not self._journal.record.state.final:
            before = self._journal.record.last_event
            self._step()
            if self._stop.is_set() and not self._journal.record.state.final:
                break
            if self._journal.record.last_event is before and not self._stop.is_set():
                raise StoreError(f"run {self._spec.id} makes no progress", hint="`dojo logs` shows where it stands")
        return self._journal.record.state

    def _step(self) -> None:
        state = self._journal.record.state
        try:
            if self._cancelled():
                self._finish(Outcome(cause=Cause.CANCELLED, phase=_PHASE[state], message="cancelled by the user"))
                return
            match state:
                case RunState.QUEUED:
                    self._journal.enter(RunState.PREPARING)
                case RunState.PREPARING:
                    self._prepare()
                case RunState.RUNNING:
                    self._agent()
                case RunState.COLLECTING:
                    self._collect()
                case RunState.SEALED | RunState.GRADING:
                    self._grade()
        except StoreError:
            raise  # nothing can be written: leave all as it is, to be resumed
        except Exception as exc:  # a bug of ours must not take the batch down, nor be taken for the agent's doing
            if isinstance(exc, OSError) and exc.errno == errno.ENOSPC and disk_usage(self._run.path).free < _ROOM:
                # the agent works on: another attempt would cost its work, and find no room either
                text = f"the disk of the results is full: {exc}"
                raise StoreError(text, hint="free disk space, then `dojo resume`", code="disk_full") from exc
            self._failed(_as_outcome(exc, _PHASE[state]), exc)

    def _prepare(self) -> None:
        site = self._site()
        site.clear()
        site.build()
        try:
            site.create_sandboxes()
            site.try_python()
            evaluator = site.evaluator("dev", gives_way=True)
        except SandboxUnavailable as exc:
            if exc.code != "gives_way":
                raise
            self._give_way(site, exc)
            return
        evaluator.ready()
        self._journal.enter(RunState.RUNNING)

    def _give_way(self, site: RunSite, exc: SandboxUnavailable) -> None:
        """Let go of what this run holds and ask again after a while: nothing of its agent has been started."""
        site.clear()
        self._journal.emit(Failed(where="waiting for a place", message=exc.message, code=exc.code))
        end = time.monotonic() + random.uniform(*_STAND_BACK_S)
        while time.monotonic() < end and not self._cancelled() and not self._stop.wait(_LOOK_S):
            pass

    def _agent(self) -> None:
        site = self._site()
        site.build()  # this may be another machine than the one where its sandboxes were made
        try:
            phase = AgentPhase(site, self._journal, self._stop, self._cancelled)
        except SandboxUnavailable as exc:  # it ended while nobody watched
            outcome: Outcome | None = own_doing(exc, self._journal)
        else:
            outcome = phase.run()
        if outcome is None:
            return
        if outcome.cause is Cause.CANCELLED:
            self._finish(outcome)
            return
        if outcome.retried and self._journal.record.attempt < MAX_ATTEMPTS:
            self._again(outcome)
            return
        self._journal.emit(Ended(**outcome.model_dump()))
        self._journal.enter(RunState.COLLECTING)

    def _collect(self) -> None:
        """Kill everything of the agent, keep its work for people, seal what counts, destroy its sandboxes."""
        site, record = self._site(), self._journal.record
        memory = self._gpu_memory(site)
        with contextlib.suppress(SandboxError):  # gone with a crash: what was acknowledged lies in submissions/ already
            task, agent = site.attach_sandboxes()
            survivors = sum(s.kill_all() for s in {task.spec.id: task, agent.spec.id: agent}.values())
            self._journal.emit(Killed(survivors=survivors))
            keep_workspace(agent, self._run)
        chosen = self._chosen_submission()
        if chosen is not None:
            source = self._run.submissions / str(chosen)
            if source.exists():  # else an interrupted collect has moved it already
                unseal_and_remove(self._run.sealed)
                source.rename(self._run.sealed)
            seal(self._run.sealed)
            manifest = manifest_of(self._run.sealed)
            said = next(s.digest for s in record.submissions if s.number == chosen)
            if manifest.digest != said:
                raise GraderFailure(
                    f"submission {chosen} changed after it was handed in", hint="look for what writes into the run folder"
                )
            write_atomic(self._run.manifest_path, manifest.model_dump_json(indent=2).encode())
            self._journal.emit(Sealed(submission=chosen, digest=manifest.digest, files=len(manifest.files), bytes=manifest.bytes))
        site.destroy("dev", "task", "agent")
        if memory is not None:
            memory.tell_what_remains()
        self._journal.enter(RunState.SEALED)

    def _gpu_memory(self, site: RunSite) -> GpuMemory | None:
        if not self._spec.limits.gpus:
            return None
        from harness.session import gpu_watch

        sandboxes = [site.sandbox_id(role) for role in ("task", "agent", "dev")]
        return gpu_watch.GpuMemory(self._journal, gpu_watch.gpus_of(self._spec.id, self._journal), sandboxes)

    def _chosen_submission(self) -> int | None:
        """Return the number of the submission that counts: the last one, or the best on dev, as the task says."""
        submissions, best = self._journal.record.submissions, self._journal.record.best_evaluation
        if not submissions:
            return None
        policy = self._assets().prepared.task.dojo.submission_policy
        if policy == "best_on_dev" and best:
            return next((s.number for s in submissions if s.digest == best.digest), submissions[-1].number)
        return submissions[-1].number

    def _grade(self) -> None:
        if self._journal.record.state is RunState.SEALED:
            self._journal.enter(RunState.GRADING)
        site, assets = self._site(), self._assets()
        if "talk_texts_scanned" not in self._journal.record.integrity:
            found = scan_talk(self._run, assets.prepared)
            if found is not None:
                self._journal.emit(found)
        if not self._journal.record.grades:
            if "searched_for_cheating" not in self._journal.record.integrity:
                searched = search_for_cheating(self._run, assets.prepared, assets.base_model, self._library.cache)
                self._journal.emit(searched)
            if self._journal.record.gpu_held is not None:
                from harness.session.gpu_watch import require_free

                require_free(self._journal.record.gpu_held)
            self._journal.grade(grade_sealed(site, self._journal.record, number=1))
        side_as_planned(site, self._journal, self._library.cache)
        outcome = judged(self._journal.record, ended(self._journal.record))
        if outcome is None:
            raise GraderFailure("the run is sealed without an outcome", hint="its events.jsonl was changed")
        self._finish(outcome, self._library.references(self._spec, assets, self._backend))

    def _finish(self, outcome: Outcome, references: tuple[Reference, ...] = ()) -> None:
        """Clear the host and end the run."""
        self._clear()
        finish(self._spec, self._journal, self._store, outcome, references)

    def _failed(self, outcome: Outcome, exc: Exception) -> None:
        """Try again what may be tried again; otherwise end the run with its cause."""
        unexpected = not isinstance(exc, DojoError | OSError)
        trace = plain_text("".join(traceback.format_exception(exc)))[-8000:] if unexpected else None
        said = plain_text(str(exc) or repr(exc))
        self._journal.emit(Failed(where=outcome.phase, message=said, cause=outcome.cause.value, traceback=trace))
        record = self._journal.record
        if isinstance(exc, MissingError):
            # a grade that was given stands, whatever has become of the task since; only its yardsticks cannot be had
            own = judged(record, ended(record))
            self._finish(own if record.grades and own else outcome)
        elif outcome.phase in ("grade", "collect") and record.agent_outcome is not None:
            hopeless = outcome.phase == "collect" or isinstance(exc, SealBroken)
            if hopeless:
                self._finish(outcome)
            elif record.failures.count("grade") >= MAX_ATTEMPTS and not self._blamed(outcome):
                own = judged(record, ended(record))
                self._finish(own if record.grades and own else outcome)
        elif record.attempt < MAX_ATTEMPTS:
            self._again(outcome)
        else:
            self._finish(outcome)

    def _blamed(self, outcome: Outcome) -> bool:
        """Give the run the grade of a submission that breaks its grader, if it is this one that does; say whether it is.

        A grade that was never begun, for want of a place, says nothing about what was handed in.
        """
        record = self._journal.record
        if record.grades or outcome.cause is Cause.SCHEDULING:
            return False
        try:
            grade = grade_as_broken(self._site(), 1, outcome.message)
        except StoreError:
            raise
        except Exception as exc:
            text = plain_text(f"the base model cannot be graded either: {exc or repr(exc)}")
            self._journal.emit(Failed(where="grading the base model", message=text[:2000]))
            return False
        self._journal.emit(Integrity.model_validate({"broke_its_grade": outcome.message}))
        self._journal.grade(grade)
        return True

    def _again(self, outcome: Outcome) -> None:
        """Begin another attempt, with a budget of its own; the events of this one stay."""
        self._clear()
        self._run.set_talk_aside(self._journal.record.attempt)
        self._journal.enter(RunState.QUEUED, attempt=self._journal.record.attempt + 1, why=outcome.message)

    def _cancelled(self) -> bool:
        return self._store.cancel_requested(self._spec.id)

    def _assets(self) -> Assets:
        if not hasattr(self, "_resolved"):
            self._resolved = self._library.assets(self._spec)
        return self._resolved

    def _site(self) -> RunSite:
        return RunSite(
            self._spec,
            self._run,
            self._backend,
            self._assets(),
            self._journal.record.attempt,
            partial(self._library.open_backbone, self._store),
        )

    def _clear(self) -> None:
        """Remove what this attempt has on the host, even where its assets cannot be resolved any more."""
        for role in ("dev", "grade", "task", "agent"):  # see `RunSite.destroy`
            self._backend.destroy(f"{self._spec.id}-{self._journal.record.attempt}-{role}")
        with contextlib.suppress(DojoError):
            self._site().clear()


def _as_outcome(exc: Exception, phase: str) -> Outcome:
    if isinstance(exc, SandboxUnavailable):
        # what a pod of the harness's own ran into is no agent's doing; see `own_doing` for those that agents work in
        cause = Cause.SANDBOX if exc.death.cause is Cause.AGENT_ERROR else exc.death.cause
    elif isinstance(exc, GraderFailure):
        cause = Cause.GRADER
    elif isinstance(exc, SandboxError | MissingError):
        cause = Cause.SANDBOX
    else:
        cause = Cause.HARNESS
    hint = f" ({exc.hint})" if isinstance(exc, DojoError) and exc.hint else ""
    return Outcome(cause=cause, phase=phase, message=plain_text(f"{str(exc) or repr(exc)}{hint}")[:2000])
