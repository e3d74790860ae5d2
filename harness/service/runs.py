"""Runs: driving, ending, watching."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from pydantic import Field

from harness.executor.base import Executor
from harness.executor.planner import BatchPlan, record_plan
from harness.grading.side.sets import choose, is_folder
from harness.sandbox.base import is_elsewhere, why_they_wait
from harness.sandbox.registry import backend_names, get_backend
from harness.service.plans import Plans
from harness.session.status import RunStatus, run_status
from harness.session.watch import follow_events, follow_output
from harness.spec.base import Spec
from harness.spec.errors import DojoError, MissingError, NotFoundError, UsageError
from harness.spec.event import Event
from harness.spec.outcome import RunState
from harness.spec.result import GradeRecord
from harness.store.artefacts.place import open_place
from harness.store.base import Damage, RunFilter, RunInfo
from harness.store.run_dir import EventListener


class BatchStatus(Spec):
    """A batch and where its runs stand."""

    batch: str
    name: str = ""
    runs: tuple[RunStatus, ...] = ()
    damaged: tuple[Damage, ...] = Field((), description="runs whose folders cannot be read, and why")
    driven_elsewhere: tuple[str, ...] = Field((), description="runs that another dojo process drives")


class Runs(Plans):
    """What is done with runs and batches."""

    def submit(
        self,
        plan: BatchPlan,
        *,
        parallel: int | None = None,
        detach: bool = False,
        on_event: EventListener | None = None,
        stop: threading.Event | None = None,
    ) -> BatchStatus:
        """Write the plan down and run it to its end here, or (``detach``) in a background process."""
        self.record(plan)
        if detach:
            drives = self._executor(self._executor_of(plan.batch), parallel)
            if is_elsewhere(drives) and parallel is None:
                drives.start(plan.batch)  # what was begun needs no process here
            else:
                self._detach(plan.batch, parallel)
            return self.status(plan.batch)
        return self.resume(plan.batch, parallel=parallel, on_event=on_event, stop=stop)

    def record(self, plan: BatchPlan) -> None:
        """Write the plan down and start nothing: whoever drives the batch finds it in the store.

        Raises:
            UsageError, MissingError: ``DOJO_ARTEFACTS`` is no address, or what it needs is not installed.
            MissingError: nobody has made the queue of a cluster that is to admit its sandboxes (code ``no_queue``).
        """
        if self._artefacts:
            open_place(self._artefacts)
        if any(spec.sandbox == "kubernetes" for spec in plan.runs):
            from harness.service.queues import require_queue  # asks a cluster

            require_queue(plan)
        record_plan(plan, {name: self.agent(called) for name, called in plan.agents.items()}, self.store)

    def resume(
        self,
        batch: str | None = None,
        *,
        parallel: int | None = None,
        on_event: EventListener | None = None,
        stop: threading.Event | None = None,
    ) -> BatchStatus:
        """Go on with every run of a batch that has not ended and that no other process drives; default: the newest batch."""
        batch = self.store.resolve(batch or "@last", "batch")
        drives = self._executor(self._executor_of(batch), parallel, on_event)
        drives.start(batch)
        outcomes = drives.wait(stop or threading.Event())
        errors = {run: found for run, found in outcomes.items() if isinstance(found, DojoError)}
        broken = [error for error in errors.values() if error.code not in ("busy", "lost")]
        if broken:
            raise broken[0]
        elsewhere = tuple(run for run, error in errors.items() if error.code in ("busy", "lost"))
        return self.status(batch).model_copy(update={"driven_elsewhere": elsewhere})

    def run(
        self,
        run: str,
        on_event: EventListener | None = None,
        stop: threading.Event | None = None,
        *,
        take_over: bool = False,
    ) -> RunState:
        """Drive one run to its end in this process; what a job of a cluster executes.

        With ``take_over`` a run that another process drives is waited for as long as a dead one's lease may last.

        Raises:
            StoreError: another live process drives it (code ``busy``).
        """
        runner, run = self._runner(), self.store.resolve(run, "run")
        return (runner.take_over if take_over else runner.drive)(run, stop, on_event)

    def cancel(self, reference: str) -> list[str]:
        """End a run, or all runs of a batch; return the ids that were not over yet."""
        ended = [run for run in self._rows(reference) if not run.state.final]
        for run in ended:
            self._executor(self._executor_of(run.batch)).cancel(run.id)
        return [run.id for run in ended]

    def grade(self, reference: str, again: bool = False, limit: int | None = None) -> GradeRecord:
        """Return a run's grade; with ``again`` (or where it has none) score the sealed submission, keeping the history.

        With ``limit`` the first so many hidden items are scored for a quick look, of which nothing is kept.

        Raises:
            UsageError: the run has not ended, or has nothing to grade.
            SealBroken: what was sealed is missing or altered; the old grade stands.
        """
        run = self.store.resolve(reference, "run")
        if limit is not None:
            return self._runner().look(run, limit)
        if not again:
            result = self.store.files(run).result()
            if result is None:
                raise UsageError(f"run {run} has not ended", hint="`dojo status` shows where it stands")
            if result.grade is not None:
                return result.grade
        return self._runner().regrade(run)

    def side(self, reference: str, names: Sequence[str]) -> GradeRecord:
        """Measure what a graded run handed in on side evaluations, base beside submission; return its grade with them.

        Args:
            reference: the run.
            names: general, safety, style, all, or the path of a folder of lm-eval tasks.

        Raises:
            NotFoundError: there is no such run or side evaluation.
            UsageError: the run has no grade, or handed nothing in.
        """
        asked = tuple(str(Path(name).expanduser().absolute()) if is_folder(name) else name for name in names)
        choose(asked)
        return self._runner().side(self.store.resolve(reference, "run"), asked)

    def gc(self, dry_run: bool = False) -> list[dict[str, str]]:
        """Remove what dead harnesses left on this host; return what was (or would be) removed."""
        from harness.executor.leftovers import remove_leftovers

        return remove_leftovers(self.store, self.home, [get_backend(name) for name in backend_names()], dry_run=dry_run)

    def overdue(self) -> list[dict[str, str]]:
        """Return the runs whose budget is over and that nobody drives, so that somebody can end and grade them."""
        from harness.executor.leftovers import overdue

        return overdue(self.store)

    def status(self, reference: str | None = None) -> BatchStatus:
        """Return where a batch, or one run, stands; default: the newest batch."""
        rows = self._rows(reference or "@last")
        batch = rows[0].batch
        name = next((b.name for b in self.store.batches(RunFilter(batch=batch))), "")
        executor: Executor | None = None
        with contextlib.suppress(MissingError, NotFoundError):  # the batch's may not be installed here
            executor = self._executor(self._executor_of(batch))
        statuses, damaged = [], []
        waits: dict[str, Mapping[str, str]] = {}  # by backend; each is asked once
        driven = self.store.holders([row.id for row in rows])
        for row in rows:
            try:
                statuses.append(self._waiting(self._status(row, executor, driven.get(row.id)), waits))
            except DojoError as exc:
                damaged.append(
                    Damage(run=row.id, path=str(self.store.run_dir(batch, row.id).path), message=exc.message, hint=exc.hint)
                )
        return BatchStatus(batch=batch, name=name, runs=tuple(statuses), damaged=tuple(damaged))

    def events(self, reference: str, follow: bool = False, stop: threading.Event | None = None) -> Iterator[Event]:
        """Yield a run's events; with ``follow`` until it ends."""
        run = self.store.files(self.store.resolve(reference, "run"))
        return follow_events(run, follow, stop or threading.Event())

    def output(
        self, reference: str, stream: str = "stdout", follow: bool = False, stop: threading.Event | None = None
    ) -> Iterator[bytes]:
        """Yield what a run's agent program printed on ``stdout`` or ``stderr``; with ``follow`` until the run ends."""
        if stream not in ("stdout", "stderr"):
            raise UsageError(f"there is no stream {stream!r}", hint="stdout or stderr")
        run = self.store.files(self.store.resolve(reference, "run"))
        return follow_output(run, f"agent.{stream}", follow, stop or threading.Event())

    def _status(self, row: RunInfo, executor: Executor | None, holder: str | None) -> RunStatus:
        run = self.store.run_dir(row.batch, row.id)
        status = run_status(run.spec(), run, os.path.relpath(run.path, self.home), holder)
        status = status.model_copy(update={"excluded": row.excluded})
        undriven = status.state is RunState.QUEUED and status.driven_by is None
        # elsewhere a run that was begun waits too: for another runner, and for the places of its sandboxes
        waiting = undriven or (is_elsewhere(executor) and not status.state.final)
        waits = executor.why(row) if executor and waiting else ""
        return status.model_copy(update={"why": waits or status.why})

    def _waiting(self, status: RunStatus, known: dict[str, Mapping[str, str]]) -> RunStatus:
        """Add why the sandbox that a driven run is about to have waits, where its backend has a scheduler that says so."""
        roles = {RunState.PREPARING: ("task", "agent", "dev"), RunState.RUNNING: ("dev",), RunState.GRADING: ("grade",)}
        if not status.driven or status.why or status.state not in roles:
            return status
        name = self.store.files(status.id).spec().sandbox
        if name not in known:
            known[name] = {}
            with contextlib.suppress(DojoError):  # not to be had here, or silent: then nobody knows
                known[name] = why_they_wait(get_backend(name))
        ids = [f"{status.id}-{status.attempt}-{role}" for role in roles[status.state]]
        why = next((known[name][id] for id in ids if id in known[name]), "")
        return status.model_copy(update={"why": why or status.why})

    def _rows(self, reference: str) -> list[RunInfo]:
        found = self.store.resolve(reference, "any")
        rows = self.store.runs(RunFilter(batch=found)) or self.store.runs(RunFilter(runs=(found,)))
        return list(rows)

    def _executor_of(self, batch: str) -> str:
        """Return the executor that the batch was submitted to."""
        found = next(iter(self.store.batches(RunFilter(batch=batch))), None)
        return str(found.settings.get("executor", "local")) if found else "local"

    def _detach(self, batch: str, parallel: int | None) -> None:
        log = self.home / "batches" / batch / "detached.log"
        command = [sys.executable, "-m", "harness.cli.main", "resume", batch]
        command += ["--parallel", str(parallel)] if parallel else []
        environment = {**os.environ, "DOJO_HOME": str(self.home), "DOJO_CACHE": str(self.cache)}
        with closing(log.open("ab")) as out:
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, start_new_session=True)
