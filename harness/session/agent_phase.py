"""The agent phase: start or re-attach, watch the clock, keep output and warnings, decide how it ended."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from harness.grading.evaluator import Evaluator
from harness.sandbox.base import ProcessStatus, Sandbox
from harness.session.api import RunPlace, SessionApi
from harness.session.clock import BudgetClock, exhausted, new_warnings
from harness.session.journal import Journal
from harness.session.place import AGENT_PROCESS, Place
from harness.session.server import ApiServer
from harness.spec.budget import Usage
from harness.spec.errors import DojoError, GraderFailure, SandboxUnavailable
from harness.spec.event import EventKind
from harness.spec.outcome import Cause, Outcome
from harness.spec.submission import SubmissionReport
from harness.spec.verdict import Verdict

# How often the clock and the measurements are looked at, seconds; the deadline is met within one tick.
TICK_S = 0.5
# Measuring a sandbox costs a few file reads; every tick would be waste on a 12-hour run.
_MEASURE_EVERY_S = 2.0
# Output kept of an agent program, bytes a stream; a flood beyond is counted, not kept.
_OUTPUT_CAP = 50 * 1024 * 1024

T = TypeVar("T")


class WarmEvaluator:
    """The run's dev evaluator; started anew once when it breaks, so that its failure is not the agent's."""

    def __init__(self, place: Place, on_restart: Callable[[GraderFailure], None]) -> None:
        self._place, self._on_restart = place, on_restart
        self._abandoned = threading.Event()
        self._evaluator = place.dev_evaluator()

    def check(self, folder: Path) -> SubmissionReport:
        """Say whether the submission in ``folder`` would load."""
        return self._twice(lambda evaluator: evaluator.check(folder))

    def score(self, folder: Path) -> tuple[Verdict, dict[str, str]]:
        """Score the submission in ``folder`` on the dev split."""
        return self._twice(lambda evaluator: evaluator.score(folder, cancelled=self._abandoned.is_set))

    def ready(self) -> None:
        """Wait until the model is loaded."""
        self._twice(lambda evaluator: evaluator.ready())

    def abandon(self) -> None:
        """Break off what is being scored; nobody waits for it any more."""
        self._abandoned.set()

    def _twice(self, call: Callable[[Evaluator], T]) -> T:
        try:
            return call(self._evaluator)
        except GraderFailure as exc:
            if self._abandoned.is_set():
                raise
            self._on_restart(exc)
            self._evaluator = self._place.evaluator("dev")
            return call(self._evaluator)


class AgentPhase:
    """Drives the agent phase of one attempt until it ends or this harness is asked to stop."""

    def __init__(self, place: Place, journal: Journal, stop: threading.Event, cancelled: Callable[[], bool]) -> None:
        self._place, self._journal, self._stop, self._cancelled = place, journal, stop, cancelled
        self._task, self._agent = place.attach_sandboxes()
        started = journal.record.clock_started or datetime.now(UTC)
        self._clock = BudgetClock(place.spec.budget, started, gpus=place.spec.limits.gpus)
        journal.elapsed = self._clock.elapsed
        self._measured_at = -_MEASURE_EVERY_S
        self._usage = Usage()

    def run(self) -> Outcome | None:
        """Return how the agent phase ended, or None when stopped and left to be resumed.

        Raises:
            SandboxUnavailable: the sandbox died without the agent's limits being the reason.
        """
        evaluator = WarmEvaluator(self._place, lambda exc: self._note_error("the dev evaluator broke and is started anew", exc))
        api = SessionApi(self._api_place(evaluator))
        server = ApiServer(api, self._place.socket, self._place.token(), lambda exc: self._note_error("agent API", exc))
        try:
            process = self._start_agent()
            outcome = self._watch(process)
        finally:
            server.hang_up()
            evaluator.abandon()
            server.close()
            api.close()
        if outcome is not None:
            self._clock.stop()
            self._journal.emit(EventKind.CLOCK_STOPPED, {"usage": self._measure(force=True).model_dump()})
        return outcome

    def _api_place(self, evaluator: WarmEvaluator) -> RunPlace:
        prepared = self._place.assets.prepared
        items = (json.loads(line) for line in prepared.dev_path.read_text(encoding="utf-8").splitlines())
        return RunPlace(
            spec=self._place.spec,
            run=self._place.run,
            journal=self._journal,
            clock=self._clock,
            sandbox=self._task,
            evaluator=evaluator,
            task_view=self._place.task_view(),
            dev_items={item["id"]: item for item in items},
            show_answers=prepared.task.dojo.show_dev_answers,
            usage=self._measure,
        )

    def _start_agent(self) -> str:
        if self._journal.record.clock_started is None:
            self._journal.emit(EventKind.CLOCK_STARTED)
        process = self._agent.start(
            list(self._place.spec.agent.config.command),
            cwd="/workspace",
            env=self._place.environment(),
            name=AGENT_PROCESS,
        )
        self._journal.emit(EventKind.AGENT_STARTED, {"process": process})
        return process

    def _watch(self, process: str) -> Outcome | None:
        outputs = [_Output(self._place.run.path / name) for name in ("agent.stdout", "agent.stderr")]
        while True:
            wait = min(TICK_S, self._clock.left()) if not self._stop.is_set() else 0.0
            status = self._poll(process, outputs, wait)
            if self._cancelled():
                return Outcome(cause=Cause.CANCELLED, phase="agent", message="cancelled by the user")
            if not status.running and not status.stdout and not status.stderr:
                return self._ended(status)
            usage = self._measure()
            for dimension, share in new_warnings(self._place.spec.budget, usage, self._journal.record.warned):
                self._journal.emit(EventKind.BUDGET_WARNING, {"dimension": dimension, "share": share})
            if self._clock.left() <= 0 or exhausted(self._place.spec.budget, usage):
                dimension = "wall" if self._clock.left() <= 0 else str(exhausted(self._place.spec.budget, usage))
                self._journal.emit(EventKind.BUDGET_EXHAUSTED, {"dimension": dimension})
                return Outcome(cause=Cause.AGENT_BUDGET, phase="agent", message=f"the {dimension} budget is spent")
            if self._stop.is_set():
                return None

    def _poll(self, process: str, outputs: list[_Output], wait: float) -> ProcessStatus:
        status = self._agent.poll(process, stdout_offset=outputs[0].offset, stderr_offset=outputs[1].offset, wait_s=wait)
        outputs[0].take(status.stdout, status.stdout_offset)
        outputs[1].take(status.stderr, status.stderr_offset)
        return status

    def _ended(self, status: ProcessStatus) -> Outcome:
        record = self._journal.record
        if not record.agent_exited:
            self._journal.emit(EventKind.AGENT_EXITED, {"exit_code": status.exit_code, "oom_killed": status.oom_killed})
        memory = f"{self._place.spec.limits.memory_mb} MB"
        if status.oom_killed:
            message = f"killed: out of memory inside its own limit of {memory}"
            return Outcome(cause=Cause.AGENT_ERROR, phase="agent", message=message, exit_code=status.exit_code)
        if status.exit_code != 0:
            message = f"the agent program ended with exit code {status.exit_code}"
            return Outcome(cause=Cause.AGENT_ERROR, phase="agent", message=message, exit_code=status.exit_code)
        if not record.submissions:
            message = "the agent ended without handing anything in"
            return Outcome(cause=Cause.AGENT_ERROR, phase="agent", message=message, exit_code=0)
        return Outcome(cause=Cause.COMPLETED, phase="agent", message="the agent ended by itself", exit_code=0)

    def _measure(self, force: bool = False) -> Usage:
        now = time.monotonic()
        sandboxes: list[Sandbox] = [self._task] if self._task is self._agent else [self._task, self._agent]
        if force or now - self._measured_at >= _MEASURE_EVERY_S:
            with contextlib.suppress(SandboxUnavailable):  # its death is noticed by poll, with the cause
                self._usage = self._clock.usage([s.usage() for s in sandboxes], 0)
            self._measured_at = now
        return self._usage.model_copy(
            update={
                "wall": round(self._clock.elapsed(), 3),
                "gpu": round(self._clock.elapsed() * self._place.spec.limits.gpus, 3),
                "evaluations": len(self._journal.record.evaluations),
            }
        )

    def _note_error(self, where: str, exc: DojoError) -> None:
        self._journal.emit(EventKind.ERROR, {"where": where, **exc.as_dict()})


class _Output:
    """One stream of the agent program on disk; its length is the offset to go on from after a restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()
        self._kept = path.stat().st_size
        self.offset = self._kept

    def take(self, data: bytes, offset: int) -> None:
        """Keep what came, up to the cap."""
        keep = data[: max(0, _OUTPUT_CAP - self._kept)]
        if keep:
            with self._path.open("ab") as out:
                out.write(keep)
            self._kept += len(keep)
        self.offset = offset
