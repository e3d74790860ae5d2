"""One run as a state machine: queued → preparing → running → collecting → sealed → grading → done | failed | cancelled.

Each step reads the record (events folded), does its work and makes one transition. A step that a crash cut off is done again
from the record; what was acknowledged (submissions, evaluations, grades) is never done twice.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import traceback
from collections.abc import Callable

from harness.files import write_atomic
from harness.sandbox.base import Backend
from harness.session.agent_phase import AgentPhase
from harness.session.collect import collect_readable, manifest_of, seal, unseal_and_remove
from harness.session.grade_phase import build_result, grade_sealed
from harness.session.journal import Journal
from harness.session.place import Assets, Place
from harness.spec.errors import DojoError, GraderFailure, MissingError, SandboxError, StoreError
from harness.spec.event import EventKind
from harness.spec.outcome import Cause, Outcome, RunState
from harness.spec.result import Reference
from harness.spec.run import RunSpec
from harness.store.database import Store
from harness.store.run_dir import EventListener

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

Resolve = Callable[[RunSpec, Callable[[str], None]], Assets]
References = Callable[[RunSpec, Assets], tuple[Reference, ...]]


class RunSession:
    """Drives one run to its end, or until ``stop`` is set.

    Args:
        spec: the frozen run.
        store: where it is recorded.
        backend: where its sandboxes are made.
        resolve: prepares task data and base model and checks them against the spec's digests.
        references: gives the yardsticks for the result (base, few-shot base, majority).
        stop: set to leave the run resumable and return soon.
        listener: called with every event.
    """

    def __init__(
        self,
        spec: RunSpec,
        store: Store,
        backend: Backend,
        resolve: Resolve,
        references: References,
        stop: threading.Event,
        listener: EventListener | None = None,
    ) -> None:
        self._spec, self._store, self._backend = spec, store, backend
        self._resolve, self._references, self._stop = resolve, references, stop
        self._run = store.run_dir(spec.batch, spec.id)
        self._listener = listener

    def drive(self) -> RunState:
        """Go on from wherever the run stands; return the state it was left in.

        Raises:
            StoreError: another process drives it (code ``busy``), or the disk is full.
        """
        with self._run.driving():
            self._journal = Journal(self._run, self._write_state, self._listener)
            if self._journal.record.last_event is not None and not self._journal.record.state.final:
                self._journal.emit(EventKind.ATTACHED, {"state": self._journal.record.state.value})
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
            self._failed(_as_outcome(exc, _PHASE[state]), exc)

    def _prepare(self) -> None:
        place = self._place()
        place.clear()
        place.build()
        place.create_sandboxes()
        task, agent = place.attach_sandboxes()
        for sandbox in {task.spec.id: task, agent.spec.id: agent}.values():
            result = sandbox.exec(["python", "-c", "import sys"], timeout_s=60)
            if not result.ok:
                raise SandboxError(
                    f"python does not run in the sandbox: {result.stderr.decode(errors='replace')[-300:]}",
                    hint="`dojo doctor` checks the backend",
                )
        place.evaluator("dev").ready()
        self._journal.enter(RunState.RUNNING)

    def _agent(self) -> None:
        phase = AgentPhase(self._place(), self._journal, self._stop, self._cancelled)
        outcome = phase.run()
        if outcome is None:
            return
        if outcome.cause is Cause.CANCELLED:
            self._finish(outcome)
            return
        self._journal.emit(EventKind.OUTCOME, outcome.model_dump(mode="json"))
        self._journal.enter(RunState.COLLECTING)

    def _collect(self) -> None:
        """Kill everything of the agent, keep its work for people, seal what counts, destroy its sandboxes."""
        place, record = self._place(), self._journal.record
        with contextlib.suppress(SandboxError):  # gone with a crash: what was acknowledged lies in submissions/ already
            task, agent = place.attach_sandboxes()
            survivors = sum(s.kill_all() for s in {task.spec.id: task, agent.spec.id: agent}.values())
            self._journal.emit(EventKind.KILLED, {"survivors": survivors})
            shutil.rmtree(self._run.workspace, ignore_errors=True)
            left_out = collect_readable(agent.archive("/workspace"), self._run.workspace)
            if left_out:
                note = "\n".join(left_out[:1000]) + "\n"
                write_atomic(self._run.path / "workspace-left-out.txt", note.encode(errors="replace"))
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
            self._journal.emit(
                EventKind.SEALED,
                {"submission": chosen, "digest": manifest.digest, "files": len(manifest.files), "bytes": manifest.bytes},
            )
        place.destroy("task", "agent", "dev")
        self._journal.enter(RunState.SEALED)

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
        assets = self._assets()
        if not self._journal.record.grades:
            grade = grade_sealed(self._place(), self._run, number=1)
            self._journal.emit(EventKind.GRADED, grade.model_dump(mode="json"))
        outcome = self._journal.record.agent_outcome
        if outcome is None:
            raise GraderFailure("the run is sealed without an outcome", hint="its events.jsonl was changed")
        references = self._references(self._spec, assets)
        self._finish(outcome, references)

    def _finish(self, outcome: Outcome, references: tuple[Reference, ...] = ()) -> None:
        """Write result.json, clear the host, make the last transition."""
        self._place_or_clear()
        record = self._journal.record
        state = RunState.DONE if outcome.counts else RunState.FAILED
        if outcome.cause is Cause.CANCELLED:
            state = RunState.CANCELLED
        if record.outcome != outcome:
            self._journal.emit(EventKind.OUTCOME, outcome.model_dump(mode="json"))
        result = build_result(self._spec, self._run, self._journal.record, outcome, state, references)
        self._run.write_result(result)
        self._journal.enter(state)

    def _failed(self, outcome: Outcome, exc: Exception) -> None:
        """Try again what may be tried again; otherwise end the run with its cause."""
        error = {"where": outcome.phase, "message": str(exc) or repr(exc), "cause": outcome.cause.value}
        if not isinstance(exc, DojoError | OSError):
            error["traceback"] = "".join(traceback.format_exception(exc))[-8000:]
        self._journal.emit(EventKind.ERROR, error)
        record = self._journal.record
        errors_here = sum(e.kind is EventKind.ERROR and e.data.get("where") == "grade" for e in self._run.events())
        if isinstance(exc, MissingError):
            self._finish(outcome)
        elif outcome.phase in ("grade", "collect") and record.agent_outcome is not None:
            if errors_here >= MAX_ATTEMPTS or outcome.phase == "collect":
                self._finish(outcome)
        elif record.attempt < MAX_ATTEMPTS:
            self._place_or_clear()
            self._journal.enter(RunState.QUEUED, attempt=record.attempt + 1, why=outcome.message)
        else:
            self._finish(outcome)

    def _write_state(self, state: RunState) -> None:
        record, fields = self._journal.record, {"state": state}
        extra: dict[str, object] = {}
        if state.final and record.outcome:
            extra["cause"] = record.outcome.cause.value
            if record.grades:
                grade = record.grades[-1]
                extra |= {"score": grade.scores.primary.value, "ci_low": grade.ci_low, "ci_high": grade.ci_high}
        self._store.update_run(self._spec.id, **fields, **extra)

    def _cancelled(self) -> bool:
        return (self._run.path / "cancel").exists()

    def _assets(self) -> Assets:
        if not hasattr(self, "_resolved"):
            self._resolved = self._resolve(self._spec, lambda _line: None)
        return self._resolved

    def _place(self) -> Place:
        return Place(self._spec, self._run, self._backend, self._assets(), self._journal.record.attempt)

    def _place_or_clear(self) -> None:
        """Remove what this attempt has on the host, even where its assets cannot be resolved any more."""
        for role in ("task", "agent", "dev", "grade"):
            self._backend.destroy(f"{self._spec.id}-{self._journal.record.attempt}-{role}")
        with contextlib.suppress(DojoError):
            self._place().clear()


def _as_outcome(exc: Exception, phase: str) -> Outcome:
    if isinstance(exc, GraderFailure):
        cause = Cause.GRADER
    elif isinstance(exc, SandboxError | MissingError):
        cause = Cause.SANDBOX
    else:
        cause = Cause.HARNESS
    hint = f" ({exc.hint})" if isinstance(exc, DojoError) and exc.hint else ""
    return Outcome(cause=cause, phase=phase, message=f"{str(exc) or repr(exc)}{hint}"[:2000])
