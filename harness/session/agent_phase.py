"""The agent phase: start or re-attach, watch the clock, keep output and warnings, decide how it ended."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from harness.grading.evaluator import Evaluator
from harness.sandbox.base import ProcessStatus, Sandbox
from harness.session.api import ApiContext
from harness.session.clock import BudgetClock, exhausted, new_warnings
from harness.session.end import AgentEnd
from harness.session.gpu_use import out_of_gpu_memory
from harness.session.journal import Journal
from harness.session.site import AGENT_PROCESS, RunSite
from harness.session.told import Told
from harness.spec.budget import Usage
from harness.spec.errors import DojoError, GraderFailure, SandboxError, SandboxUnavailable
from harness.spec.event import AgentExited, AgentStarted, BudgetSpent, BudgetWarning, ClockStarted, ClockStopped
from harness.spec.outcome import Cause, Outcome
from harness.spec.submission import SubmissionReport
from harness.spec.verdict import Verdict
from harness.taskkit.scoring.contract import load_grader

if TYPE_CHECKING:
    from harness.session.gpu_watch import GpuWatch

# How often the clock and the measurements are looked at, seconds; the deadline is met within one tick.
TICK_S = 0.5
# Measuring a sandbox costs a few file reads; every tick would be waste on a 12-hour run. It is done sooner where the CPU budget
# could be spent sooner, so that what is spent beyond it stays below the shorter time on every core.
_MEASURE_EVERY_S, _MEASURE_SOONEST_S = 2.0, 0.2
# As shells say it.
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127
# Output kept of an agent program, bytes a stream; a flood beyond is counted, not kept.
_OUTPUT_CAP = 50 * 1024 * 1024

# How errors of a service are headed in the events, where its name alone would say too little.
_CALLS = {"api": "agent API", "llm": "LLM gateway"}

# A run whose backbone was down for more than this share of its time, by the gateway's own probe, is no measurement of its agent.
_OUTAGE_SHARE = 0.1

T = TypeVar("T")


class WarmEvaluator:
    """The run's dev evaluator; started anew once when it breaks, so that its failure is not the agent's."""

    def __init__(self, site: RunSite, on_restart: Callable[[GraderFailure], None]) -> None:
        self._site, self._on_restart = site, on_restart
        self._abandoned = threading.Event()
        self._evaluator = site.dev_evaluator()

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
            self._evaluator = self._site.evaluator("dev")
            return call(self._evaluator)


class AgentPhase:
    """Drives the agent phase of one attempt until it ends or this harness is asked to stop."""

    def __init__(self, site: RunSite, journal: Journal, stop: threading.Event, cancelled: Callable[[], bool]) -> None:
        self._site, self._journal, self._stop, self._cancelled = site, journal, stop, cancelled
        self._task, self._agent = site.attach_sandboxes()
        started = journal.record.clock_started or datetime.now(UTC)
        self._clock = BudgetClock(site.spec.budget, started, gpus=site.spec.limits.gpus)
        journal.elapsed = self._clock.elapsed
        self._told = Told(journal)
        self._gpus = self._gpu_watch()
        self._measured_at = -_MEASURE_EVERY_S
        self._usage = Usage()
        self._lost: SandboxUnavailable | None = None
        self._end = AgentEnd()
        self._overshoot = 0.0

    def run(self) -> Outcome | None:
        """Return how the agent phase ended, or None when stopped and left to be resumed.

        Raises:
            SandboxUnavailable: the sandbox died without the agent's limits being the reason.
        """
        evaluator = WarmEvaluator(self._site, lambda exc: self._note_error("the dev evaluator broke and is started anew", exc))
        context = self._context(evaluator)
        services = self._site.services
        if self._gpus:
            self._gpus.start()
        try:
            for service in services:
                service.open(context, partial(self._note_error, _CALLS.get(service.name, service.name)))
            outcome = self._to_its_end()
            if outcome is not None:
                self._end_agent()
        finally:
            try:
                for service in services:
                    service.hang_up()
                self._end.tell(dead=False)  # unless it was said; where the agent lives on it must not hear that its time is over
                evaluator.abandon()
                for service in services:
                    service.close()
            finally:
                if self._gpus:
                    self._gpus.stop()
        if outcome is not None:
            if outcome.cause is Cause.COMPLETED and not self._journal.record.submissions:  # what was under way has come by now
                message = "the agent ended without handing anything in"
                outcome = Outcome(cause=Cause.AGENT_ERROR, phase="agent", message=message, exit_code=0)
            down = sum(service.usage().stalled_s for service in services)
            outcome = blamed(outcome, down, self._clock.elapsed())
            outcome = self._gpus.blamed(outcome) if self._gpus else outcome
            self._journal.emit(ClockStopped(usage=self._measure(force=True).model_dump(), overshoot_s=round(self._overshoot, 3)))
        return outcome

    def _gpu_watch(self) -> GpuWatch | None:
        spec = self._site.spec
        if not spec.limits.gpus:
            return None
        from harness.session import gpu_watch

        sandboxes = [self._site.sandbox_id(role) for role in ("task", "agent", "dev")]
        gpus, since_s = gpu_watch.gpus_of(spec.id, self._journal), self._clock.elapsed()
        return gpu_watch.GpuWatch(self._journal, gpus, sandboxes, wall_s=spec.budget.wall, since_s=since_s)

    def _context(self, evaluator: WarmEvaluator) -> ApiContext:
        prepared = self._site.assets.prepared
        items = (json.loads(line) for line in prepared.dev_path.read_text(encoding="utf-8").splitlines())
        return ApiContext(
            spec=self._site.spec,
            run=self._site.run,
            journal=self._journal,
            clock=self._clock,
            sandbox=self._task,
            evaluator=evaluator,
            task_view=self._site.task_view(),
            dev_items={item["id"]: item for item in items},
            show_answers=prepared.task.dojo.show_dev_answers,
            usage=self._measure,
            told=self._told,
            end=self._end,
            grader=lambda: load_grader(prepared.task.path),
        )

    def _to_its_end(self) -> Outcome | None:
        """Start the agent or find it, and watch it; a sandbox that it ended itself is its own end."""
        try:
            return self._watch(self._start_agent())
        except SandboxUnavailable as exc:
            return own_doing(exc, self._journal)

    def _start_agent(self) -> str:
        if self._journal.record.clock_started is None:
            self._journal.emit(ClockStarted())
        self._set_deadline()
        process = self._agent.start(
            list(self._site.spec.agent.config.command),
            cwd="/workspace",
            env=self._site.agent_environment(),
            name=AGENT_PROCESS,
        )
        self._journal.emit(AgentStarted(process=process))
        return process

    def _watch(self, process: str) -> Outcome | None:
        outputs = [_Output(self._site.run.path / name) for name in ("agent.stdout", "agent.stderr")]
        while True:
            wait = min(TICK_S, self._clock.left(), self._measure_every()) if not self._stop.is_set() else 0.0
            status = self._poll(process, outputs, wait)
            if self._cancelled():
                return Outcome(cause=Cause.CANCELLED, phase="agent", message="cancelled by the user")
            ended = not status.running and not status.stdout and not status.stderr
            usage = self._measure(force=ended and self._task is not self._agent)
            self._require_task()
            if ended:
                return self._ended(status)
            down = sum(service.usage().stalled_s for service in self._site.services)
            if down > _OUTAGE_SHARE * (self._site.spec.budget.wall + down):  # whatever comes now, it is no measurement any more
                message = "the backbone did not come back"
                return Outcome(cause=Cause.MODEL_PROVIDER, phase="agent", message=message)
            for dimension, share in new_warnings(self._site.spec.budget, usage, self._journal.record.warned):
                self._journal.emit(BudgetWarning(dimension=dimension, share=share))
            if spent := self._spent(usage):
                return self._out_of(spent)
            if self._stop.is_set():
                return None

    def _require_task(self) -> None:
        """Notice that the sandbox is gone that an agent in one of its own works in.

        Raises:
            SandboxUnavailable: with the cause.
        """
        lost, self._lost = self._lost, None
        if lost is not None and self._task is not self._agent and not self._task.alive():
            raise lost

    def _end_agent(self) -> None:
        """Kill everything of the agent for good and stop the clock; only then is it said that its time is over.

        A sandbox past its deadline starts nothing more, so calls that are still on their way bring nothing back to life.
        """
        noticed, survivors = self._clock.elapsed(), 0
        for sandbox in reversed(self._sandboxes()):  # first the one that the program drives the other from
            with contextlib.suppress(SandboxError):  # gone, and everything in it
                sandbox.set_deadline(0)
        for sandbox in self._sandboxes():
            with contextlib.suppress(SandboxError):
                survivors += sandbox.kill_all()
        self._clock.stop()
        self._overshoot = self._clock.elapsed() - min(noticed, self._site.spec.budget.wall)
        self._end.tell(dead=survivors == 0)

    def _poll(self, process: str, outputs: list[_Output], wait: float) -> ProcessStatus:
        status = self._agent.poll(process, stdout_offset=outputs[0].offset, stderr_offset=outputs[1].offset, wait_s=wait)
        outputs[0].take(status.stdout, status.stdout_offset)
        outputs[1].take(status.stderr, status.stderr_offset)
        return status

    def _spent(self, usage: Usage) -> str | None:
        """Return the budget dimension that ends the run now, or None."""
        return "wall" if self._clock.left() <= 0 else exhausted(self._site.spec.budget, usage)

    def _out_of(self, dimension: str) -> Outcome:
        self._journal.emit(BudgetSpent(dimension=dimension))
        return Outcome(cause=Cause.AGENT_BUDGET, phase="agent", message=f"the {dimension} budget is spent")

    def _ended(self, status: ProcessStatus) -> Outcome:
        record = self._journal.record
        if status.deadline:  # ended by the sandbox itself while no harness watched, or a moment before this one would have
            return self._out_of(self._spent(self._measure()) or "wall")
        if not record.agent_exited:
            self._journal.emit(AgentExited(exit_code=status.exit_code, oom_killed=status.oom_killed))
        memory = f"{self._agent.spec.limits.memory_mb} MB"
        if status.oom_killed:
            message = f"killed: out of memory inside its own limit of {memory}"
            return Outcome(cause=Cause.AGENT_ERROR, phase="agent", message=message, exit_code=status.exit_code)
        if status.exit_code != 0:
            message = how_it_ended(status.exit_code or 0, status.started)
            if self._site.spec.limits.gpus and out_of_gpu_memory(self._site.run.path / "agent.stderr"):
                message += "; it ran out of GPU memory"
            return Outcome(cause=Cause.AGENT_ERROR, phase="agent", message=message, exit_code=status.exit_code)
        return Outcome(cause=Cause.COMPLETED, phase="agent", message="the agent ended by itself", exit_code=0)

    def _sandboxes(self) -> list[Sandbox]:
        return [self._task] if self._task is self._agent else [self._task, self._agent]

    def _set_deadline(self) -> None:
        """Let the sandboxes end the agent by themselves when its time is over, whatever becomes of this process."""
        left, budget, gpus = self._clock.left(), self._site.spec.budget.gpu, self._site.spec.limits.gpus
        if budget is not None and gpus:  # GPUs held are time as well
            left = min(left, max(0.0, budget / gpus - self._clock.elapsed()))
        for sandbox in self._sandboxes():
            sandbox.set_deadline(left)

    def _measure_every(self) -> float:
        """Return after how many seconds to measure again: not after the CPU budget may be spent, but for a floor."""
        budget, cpus = self._site.spec.budget.cpu, self._site.spec.limits.cpus
        if budget is None:
            return _MEASURE_EVERY_S
        return min(_MEASURE_EVERY_S, max(_MEASURE_SOONEST_S, (budget - self._usage.cpu) / cpus))

    def _measure(self, force: bool = False) -> Usage:
        now = time.monotonic()
        if force or now - self._measured_at >= self._measure_every():
            try:
                self._usage = self._clock.usage([s.usage() for s in self._sandboxes()], 0)
            except SandboxUnavailable as exc:  # see `_require_task`, and `_poll` for the one that the agent is in
                self._lost = exc
            self._measured_at = now
        spent = [service.usage() for service in self._site.services]
        if self._clock.excuse(sum(s.stalled_s for s in spent)) and not self._end.over:
            self._set_deadline()
        return self._usage.model_copy(
            update={
                "wall": round(self._clock.elapsed(), 3),
                "gpu": round(self._clock.elapsed() * self._site.spec.limits.gpus, 3),
                "evaluations": len(self._journal.record.evaluations),
                "tokens": sum(s.tokens for s in spent),
                "output_tokens": sum(s.output_tokens for s in spent),
                "requests": sum(s.requests for s in spent),
                "dollars": sum(s.dollars for s in spent),
            }
        )

    def _note_error(self, where: str, exc: DojoError) -> None:
        self._told.fault(where, exc)


def own_doing(exc: SandboxUnavailable, journal: Journal) -> Outcome:
    """Return how a phase ends whose agent brought its sandbox to its end, as one does that runs out of memory.

    Raises:
        SandboxUnavailable: it was another's doing, or nothing of the agent had been started.
    """
    if exc.death.cause is not Cause.AGENT_ERROR or journal.record.clock_started is None:
        raise exc
    return Outcome(cause=Cause.AGENT_ERROR, phase="agent", message=exc.death.text)


def how_it_ended(exit_code: int, started: bool) -> str:
    """Say what the exit code of an agent's program means, in the words of shells.

    Args:
        exit_code: of the program, not 0.
        started: false where it could not be executed at all.
    """
    if not started:
        why = (
            "it is not there, or its first line names an interpreter that is not"
            if exit_code == _NOT_FOUND
            else "it is there and cannot be executed"
        )
        return f"the agent program did not start: {why} (exit code {exit_code}; `dojo logs --agent` shows its name)"
    said = f"the agent program ended with exit code {exit_code}"
    if exit_code == _NOT_FOUND:
        return f"{said}, as shells do where a command is not found"
    if exit_code == _NOT_EXECUTABLE:
        return f"{said}, as shells do where a command cannot be executed"
    with contextlib.suppress(ValueError):
        return f"{said}: {signal.Signals(exit_code - 128).name} ended it"
    return said


def blamed(outcome: Outcome, down_s: float, charged_s: float) -> Outcome:
    """Blame the provider where its outages took too large a share of the time, whatever the agent says or sends.

    Args:
        outcome: how the agent phase ended.
        down_s: seconds the backbone was down by the gateway's own probe.
        charged_s: seconds on the budget clock, outages left out.
    """
    if outcome.cause is Cause.CANCELLED or down_s <= _OUTAGE_SHARE * (charged_s + down_s):
        return outcome
    message = f"the backbone was down for {down_s:.0f} of {charged_s + down_s:.0f} s ({outcome.message})"
    return Outcome(cause=Cause.MODEL_PROVIDER, phase="agent", message=message, exit_code=outcome.exit_code)


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
