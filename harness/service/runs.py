"""Runs: planning, driving, ending, watching."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing

from pydantic import Field

from harness.assets.base_models import prepare_base_model
from harness.assets.installs import prepare_install, require_install
from harness.assets.prepare import prepare_task
from harness.executor.base import Executor, Work
from harness.executor.planner import BatchPlan, budget_of, check_minds, plan_again, plan_batch, profile_of, record_plan
from harness.executor.registry import get_executor
from harness.extras import require
from harness.sandbox.registry import backend_names, get_backend
from harness.service.bench import Bench
from harness.session.status import RunStatus, run_status
from harness.session.watch import follow_events, follow_output
from harness.spec.base import Spec
from harness.spec.errors import DojoError, MissingError, NotFoundError, UsageError
from harness.spec.event import Event
from harness.spec.outcome import RunState
from harness.spec.result import GradeRecord
from harness.store.base import Damage, RunFilter, RunInfo
from harness.store.run_dir import EventListener
from harness.taskkit.building.package import Progress


class BatchStatus(Spec):
    """A batch and where its runs stand."""

    batch: str
    name: str = ""
    runs: tuple[RunStatus, ...] = ()
    damaged: tuple[Damage, ...] = Field((), description="runs whose folders cannot be read, and why")
    driven_elsewhere: tuple[str, ...] = Field((), description="runs that another dojo process drives")


class Runs(Bench):
    """What is done with runs and batches."""

    def plan(
        self,
        agents: Sequence[str],
        tasks: Sequence[str],
        seeds: Sequence[int] = (0,),
        profile: str = "full",
        *,
        budget: str | None = None,
        sandbox: str | None = None,
        executor: str = "local",
        base_model: str | None = None,
        backbone: str | None = None,
        name: str | None = None,
        agent_params: Mapping[str, str] | None = None,
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> BatchPlan:
        """Plan the matrix of a submit and check everything that can be checked beforehand.

        Prepares data and base models where they are not in the cache yet.

        Raises:
            UsageError: an unknown name, a value out of range.
            MissingError: data, a model, isolation or a GPU that this machine does not have.
        """
        found_agents = [(called, self.agent(called)) for called in agents]
        found_tasks = self.expand_tasks(tasks)
        runs_on = self._executor(executor)
        backend = self._checked_backend(sandbox)
        if backend != "docker":  # images bring their own
            require("torch", "transformers", "peft", "lm_eval", "math_verify")
        mind = self._library.plan_backbone(backbone, self.store) if backbone else None
        budgets = [budget_of(task.dojo.profiles, task.id, profile, budget) for task in found_tasks]
        check_minds([agent.config for _, agent in found_agents], budgets, mind)
        prepared = []
        gpus = False
        for task in found_tasks:  # from here on things are fetched
            wanted = profile_of(task.dojo.profiles, task.id, profile)
            gpus = gpus or wanted.limits.gpus > 0
            runs_on.check(wanted.limits)
            name_of_model = base_model or wanted.base_model
            data = prepare_task(task, profile, self.cache, progress)
            prepared.append((data, name_of_model, prepare_base_model(name_of_model, self.cache, progress)))
        made = [(agent.name, prepare_install(agent, self.cache, progress)) for _, agent in found_agents]
        return plan_batch(
            found_agents,
            prepared,
            list(seeds),
            home=self.home,
            executor=executor,
            limit=limit,
            sandbox=backend,
            budget=budget,
            backbone=mind,
            name=name or "",
            agent_params=agent_params,
            installs={name: install.digest for name, install in made if install is not None},
            image=self._image(backend, gpus),
        )

    def plan_again(self, runs: Sequence[str], name: str = "", progress: Progress | None = None) -> BatchPlan:
        """Plan finished runs once more as they were: agent, task, data, seed, budget, parameters.

        Raises:
            UsageError: there are none.
            MissingError: a task, its data or a base model is not what it was, or the sandbox is not to be had.
        """
        plan = plan_again([self.store.files(self.store.resolve(run, "run")).spec() for run in runs], name)
        for spec in plan.runs:
            self._checked_backend(spec.sandbox)
            assets = self._library.assets(spec, progress)
            if assets.install is not None:
                require_install(assets.install, spec.agent.name)
        return plan

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
        record_plan(plan, {name: self.agent(called) for name, called in plan.agents.items()}, self.store)
        if detach:
            self._detach(plan.batch, parallel)
            return self.status(plan.batch)
        return self.resume(plan.batch, parallel=parallel, on_event=on_event, stop=stop)

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

    def run(self, run: str, on_event: EventListener | None = None, stop: threading.Event | None = None) -> RunState:
        """Drive one run to its end in this process; what a job of a cluster executes.

        Raises:
            StoreError: another live process drives it (code ``busy``).
        """
        return self._runner().drive(self.store.resolve(run, "run"), stop, on_event)

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
        for row in rows:
            try:
                statuses.append(self._status(row, executor))
            except DojoError as exc:
                damaged.append(Damage(run=row.id, path=str(self.store.files(row.id).path), message=exc.message, hint=exc.hint))
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

    def _status(self, row: RunInfo, executor: Executor | None) -> RunStatus:
        run = self.store.files(row.id)
        status = run_status(run.spec(), run, os.path.relpath(run.path, self.home), self.store.holder(row.id))
        status = status.model_copy(update={"excluded": row.excluded})
        waits = executor.why(row.id) if executor and status.state is RunState.QUEUED and status.driven_by is None else ""
        return status.model_copy(update={"why": waits or status.why})

    def _rows(self, reference: str) -> list[RunInfo]:
        found = self.store.resolve(reference, "any")
        rows = self.store.runs(RunFilter(batch=found)) or self.store.runs(RunFilter(runs=(found,)))
        return list(rows)

    def _checked_backend(self, name: str | None) -> str:
        backend = get_backend(name or self._sandbox)
        bad = next((check for check in backend.check() if not check.ok), None)
        if bad:
            raise MissingError(f"sandbox {backend.name}: {bad.name}: {bad.detail}", hint=bad.hint)
        return backend.name

    def _image(self, backend: str, gpus: bool) -> str:
        """Return what tells the image of the task sandboxes from others; "" for backends that show this host's system."""
        if backend != "docker":
            return ""
        from harness.sandbox.images.state import identity

        return identity("task", "cuda" if gpus else "cpu")

    def _executor_of(self, batch: str) -> str:
        """Return the executor that the batch was submitted to."""
        found = next(iter(self.store.batches(RunFilter(batch=batch))), None)
        return str(found.settings.get("executor", "local")) if found else "local"

    def _executor(self, name: str, parallel: int | None = None, listener: EventListener | None = None) -> Executor:
        return get_executor(name, Work(self._runner(), parallel, listener))

    def _detach(self, batch: str, parallel: int | None) -> None:
        log = self.home / "batches" / batch / "detached.log"
        command = [sys.executable, "-m", "harness.cli.main", "resume", batch]
        command += ["--parallel", str(parallel)] if parallel else []
        environment = {**os.environ, "DOJO_HOME": str(self.home), "DOJO_CACHE": str(self.cache)}
        with closing(log.open("ab")) as out:
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, start_new_session=True)
