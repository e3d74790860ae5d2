"""`Dojo`: the one façade. The command line, the web service and Python users call it; nothing is done only in a command."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.assets import agent_dir, base_models, task_dir
from harness.assets.prepare import PreparedTask, prepare_task
from harness.executor.local import LocalExecutor
from harness.executor.planner import BatchPlan, plan_batch, profile_of, record_plan
from harness.executor.slots import Slots
from harness.sandbox.base import Check
from harness.sandbox.registry import backend_names, get_backend
from harness.session.lifecycle import RunSession
from harness.session.place import Assets
from harness.session.regrade import regrade
from harness.session.status import RunStatus, run_status
from harness.session.watch import follow_events, follow_output
from harness.spec.base import Spec
from harness.spec.errors import DojoError, MissingError, UsageError
from harness.spec.event import Event
from harness.spec.outcome import RunState
from harness.spec.result import GradeRecord, Reference, RunResult
from harness.spec.run import RunSpec
from harness.store.database import RunRow, Store
from harness.store.run_dir import EventListener, RunDir
from harness.taskkit.building.package import Progress

if TYPE_CHECKING:
    from harness.analysis.compare import Comparison
    from harness.analysis.leaderboard import Leaderboard
    from harness.analysis.plan import Plan
    from harness.assets.dry_run import Fetch
    from harness.executor.checks import TaskCheck


class BatchStatus(Spec):
    """A batch and where its runs stand."""

    batch: str
    name: str = ""
    runs: tuple[RunStatus, ...] = ()


class Dojo:
    """Everything dojo does, over one results directory and one cache.

    Args:
        home: results directory; default ``$DOJO_HOME`` or ``./results``.
        cache: models and data; default ``$DOJO_CACHE`` or ``~/.cache/dojo``.
        tasks: directories to look for tasks in; default ``$DOJO_TASKS`` or the project's.
        agents: directories to look for agents in; default ``$DOJO_AGENTS`` or the project's.
        database: an SQLAlchemy URL; default SQLite inside ``home``.
        sandbox: the backend used where a call names none.
    """

    def __init__(
        self,
        home: Path | str | None = None,
        cache: Path | str | None = None,
        tasks: Sequence[Path] | None = None,
        agents: Sequence[Path] | None = None,
        database: str | None = None,
        sandbox: str = "namespace",
    ) -> None:
        self.home = Path(home or os.environ.get("DOJO_HOME") or "results").resolve()
        self.cache = Path(cache or os.environ.get("DOJO_CACHE") or Path.home() / ".cache" / "dojo").resolve()
        self._task_roots, self._agent_roots = tasks, agents
        self._database, self._sandbox = database, sandbox
        self._opened: Store | None = None
        self._assets: dict[tuple[str, str, str], Assets] = {}
        self._assets_lock = threading.Lock()

    @property
    def store(self) -> Store:
        """The results directory with its database, opened on first use."""
        if self._opened is None:
            self._opened = Store(self.home, self._database)
        return self._opened

    # -- planning and running ---------------------------------------------------------------------------------------

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
        progress: Progress | None = None,
    ) -> BatchPlan:
        """Plan the matrix of a submit and check everything that can be checked beforehand.

        Prepares data and base models where they are not in the cache yet.

        Raises:
            UsageError: an unknown name, a value out of range.
            MissingError: data, a model, isolation or a GPU that this machine does not have.
        """
        if executor != "local":
            raise UsageError(f"there is no executor {executor!r}", hint="this version has: local")
        found_agents = [agent_dir.find_agent(agent, self._agent_roots) for agent in agents]
        found_tasks = [task_dir.find_task(task, self._task_roots) for task in self.expand_tasks(tasks)]
        backend = get_backend(sandbox or self._sandbox)
        bad = next((check for check in backend.check() if not check.ok), None)
        if bad:
            raise MissingError(f"sandbox {backend.name}: {bad.name}: {bad.detail}", hint=bad.hint)
        prepared = []
        for task in found_tasks:
            wanted = profile_of(task.dojo.profiles, task.id, profile)
            Slots.of_this_machine().check(wanted.limits)
            name_of_model = base_model or wanted.base_model
            data = prepare_task(task, profile, self.cache, progress)
            prepared.append((data, name_of_model, base_models.prepare_base_model(name_of_model, self.cache, progress)))
        return plan_batch(
            found_agents,
            prepared,
            list(seeds),
            sandbox=backend.name,
            budget=budget,
            backbone=backbone,
            name=name or "",
            agent_params=agent_params,
        )

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
        record_plan(plan, self.store)
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
        """Go on with every run of a batch that has not ended; default: the newest batch."""
        batch = self.store.resolve(batch or "@last", "batch")
        stop = stop or threading.Event()
        waiting = [row for row in self.store.runs(batch) if not RunState(row.state).final]
        specs = [self._dir(row).spec() for row in waiting]

        def drive(spec: RunSpec) -> RunState:
            session = RunSession(spec, self.store, get_backend(spec.sandbox), self._resolve, self._references, stop, on_event)
            return session.drive()

        results = LocalExecutor(Slots.of_this_machine(), parallel).execute(specs, drive, stop)
        broken = [result for result in results.values() if isinstance(result, DojoError) and result.code != "busy"]
        if broken:
            raise broken[0]
        return self.status(batch)

    def cancel(self, reference: str) -> list[str]:
        """End a run, or all runs of a batch; return the ids that were not over yet."""
        ended = []
        for row in self._rows(reference):
            run = self._dir(row)
            if RunState(row.state).final:
                continue
            (run.path / "cancel").touch()
            ended.append(row.id)
            if not run.driven():
                spec = run.spec()
                RunSession(
                    spec, self.store, get_backend(spec.sandbox), self._resolve, self._references, threading.Event()
                ).drive()
        return ended

    def grade(self, reference: str, again: bool = False) -> GradeRecord:
        """Return a run's grade; with ``again`` (or where it has none) score the sealed submission, keeping the history."""
        row = self.store.run_row(self.store.resolve(reference, "run"))
        run = self._dir(row)
        result = run.result()
        if result is None:
            raise UsageError(f"run {row.id} has not ended", hint="`dojo status` shows where it stands")
        if result.grade is not None and not again:
            return result.grade
        spec = run.spec()
        return regrade(spec, run, self.store, get_backend(spec.sandbox), self._resolve, self._references)

    def gc(self, dry_run: bool = False) -> list[dict[str, str]]:
        """Remove what dead harnesses left on this host; return what was (or would be) removed."""
        from harness.executor.leftovers import remove_leftovers

        return remove_leftovers(self.store, [get_backend(name) for name in backend_names()], dry_run=dry_run)

    # -- looking ----------------------------------------------------------------------------------------------------

    def status(self, reference: str | None = None) -> BatchStatus:
        """Return where a batch, or one run, stands; default: the newest batch."""
        rows = self._rows(reference or "@last")
        batch = rows[0].batch
        name = next(b.name for b in self.store.batches() if b.id == batch)
        statuses = []
        for row in rows:
            run = self._dir(row)
            statuses.append(run_status(run.spec(), run, run.path.relative_to(self.home).as_posix()))
        return BatchStatus(batch=batch, name=name, runs=tuple(statuses))

    def show(self, reference: str) -> RunResult:
        """Return the whole result of a run.

        Raises:
            UsageError: it has not ended.
        """
        row = self.store.run_row(self.store.resolve(reference, "run"))
        result = self._dir(row).result()
        if result is None:
            raise UsageError(f"run {row.id} has not ended (state {row.state})", hint=f"`dojo status {row.id}`")
        return result

    def events(self, reference: str, follow: bool = False, stop: threading.Event | None = None) -> Iterator[Event]:
        """Yield a run's events; with ``follow`` until it ends."""
        row = self.store.run_row(self.store.resolve(reference, "run"))
        return follow_events(self._dir(row), follow, stop or threading.Event())

    def output(
        self, reference: str, stream: str = "stdout", follow: bool = False, stop: threading.Event | None = None
    ) -> Iterator[bytes]:
        """Yield what a run's agent program printed on ``stdout`` or ``stderr``; with ``follow`` until the run ends."""
        if stream not in ("stdout", "stderr"):
            raise UsageError(f"there is no stream {stream!r}", hint="stdout or stderr")
        row = self.store.run_row(self.store.resolve(reference, "run"))
        return follow_output(self._dir(row), f"agent.{stream}", follow, stop or threading.Event())

    def results(self, task: str | None = None, batch: str | None = None) -> list[RunResult]:
        """Return the results of all runs that have ended, filtered."""
        if task:
            task = task_dir.find_task(task, self._task_roots).id
        batch = self.store.resolve(batch, "batch") if batch else None
        rows = [row for row in self.store.runs(batch, task) if RunState(row.state).final]
        return [result for row in rows if (result := self._dir(row).result()) is not None]

    def leaderboard(self, task: str | None = None, batch: str | None = None) -> Leaderboard:
        """Return agents with intervals, beside them base, few-shot base and majority."""
        from harness.analysis.leaderboard import leaderboard

        return leaderboard(self.results(batch=batch), task)

    def compare(self, a: str, b: str, task: str | None = None, batch: str | None = None, mix: bool = False) -> Comparison:
        """Return the paired difference of two agents with its verdict; ``mix`` compares runs of different settings too."""
        from harness.analysis.compare import compare

        return compare(self.results(batch=batch), a, b, task, mix)

    def compare_all(self, task: str | None = None, batch: str | None = None) -> tuple[list[Comparison], list[str]]:
        """Compare every agent with every other, adjusted together; and say which pairs cannot be compared, and why."""
        from harness.analysis.compare import compare_all

        return compare_all(self.results(batch=batch), task)

    def power(self, plan: BatchPlan) -> Plan:
        """Say what the runs of a plan could show about agents, from what earlier runs on its tasks varied by."""
        from harness.analysis.plan import plan as power

        items, runs = {}, 0
        for task, profile in dict.fromkeys((run.task.id, run.task.profile) for run in plan.runs):
            prepared = prepare_task(self.task(task), profile, self.cache)
            items[task] = int(prepared.manifest["files"]["hidden.jsonl"]["rows"])
            runs = len({run.seed for run in plan.runs if run.task.id == task})
        return power(self.results(), items, runs)

    def plots(self, folder: Path, batch: str | None = None) -> list[Path]:
        """Draw a batch's (default: all) leaderboard, dev scores over time and comparisons; return the files."""
        from harness.analysis.plots import write_plots

        return write_plots(self.results(batch=batch), folder, self.events)

    def report(self, batch: str | None = None, plots: Sequence[Path] = (), page: Path | None = None) -> str:
        """Return a batch (default: the newest) on one page of Markdown.

        Args:
            batch: id, unique prefix or ``@last``.
            plots: pictures to show at the end.
            page: where the page will lie, so that links lead from there; default: the results directory.
        """
        from harness.analysis.report import markdown_report

        status = self.status(self.store.resolve(batch or "@last", "batch"))
        base = (page.parent if page else self.home).resolve()
        folders = {run.id: os.path.relpath(self.home / run.folder, base) for run in status.runs}
        waiting = [f"{run.id} ({run.agent}, {run.task}): {run.phase}. {run.why}" for run in status.runs if not run.state.final]
        links = [os.path.relpath(plot.resolve(), base) for plot in plots]
        title = f"Batch {status.batch}" + (f": {status.name}" if status.name else "")
        return markdown_report(title, self.results(batch=status.batch), folders, links, waiting)

    def doctor(self, area: str | None = None) -> list[Check]:
        """Check what this machine has for running dojo."""
        from harness.executor.doctor import diagnose

        return diagnose(self.home, self.cache, self._sandbox, area)

    # -- tasks, agents, data ----------------------------------------------------------------------------------------

    def tasks(self) -> list[task_dir.Task]:
        """Return all tasks."""
        return task_dir.list_tasks(self._task_roots)

    def task(self, task: str) -> task_dir.Task:
        """Return one task by id."""
        return task_dir.find_task(task, self._task_roots)

    def agents(self) -> list[agent_dir.Agent]:
        """Return all agents."""
        return agent_dir.list_agents(self._agent_roots)

    def agent(self, agent: str) -> agent_dir.Agent:
        """Return one agent by name or path."""
        return agent_dir.find_agent(agent, self._agent_roots)

    def expand_tasks(self, patterns: Sequence[str]) -> list[str]:
        """Turn task ids, globs and ``all`` into task ids, each once, in the order given."""
        from fnmatch import fnmatchcase

        known = [task.id for task in self.tasks()]
        found: dict[str, None] = {}
        for pattern in patterns:
            if pattern == "all" or any(c in pattern for c in "*?["):
                matches = [i for i in known if pattern == "all" or fnmatchcase(i, pattern)]
                if not matches:
                    raise UsageError(f"no task matches {pattern!r}", hint=f"known: {', '.join(known)}")
                found |= dict.fromkeys(matches)
            else:
                found[task_dir.find_task(pattern, self._task_roots).id] = None
        return list(found)

    def prepare_data(self, task: str, profile: str, progress: Progress | None = None) -> PreparedTask:
        """Prepare a task's data and base model in the cache."""
        found = task_dir.find_task(task, self._task_roots)
        wanted = profile_of(found.dojo.profiles, found.id, profile)
        # the small and the doubtful first: nobody wants to fetch a model to hear that the data cannot be had
        prepared = prepare_task(found, profile, self.cache, progress)
        base_models.prepare_base_model(wanted.base_model, self.cache, progress)
        return prepared

    def new_task(self, name: str, root: Path) -> task_dir.Task:
        """Start the task ``domain/name`` in ``root`` from a working example.

        Raises:
            UsageError: the name is no task name, or the directory exists.
        """
        from harness.assets.new_task import new_task

        return new_task(name, root)

    def export_task(self, task: str, target: Path, profile: str, progress: Progress | None = None) -> Path:
        """Write a task with its data and base model into the new folder ``target``, as Harbor runs it.

        Raises:
            NotFoundError: no such task, or it has no such profile.
            UsageError: ``target`` exists.
        """
        from harness.assets.export import export_harbor

        found = self.task(task)
        wanted = profile_of(found.dojo.profiles, found.id, profile)
        model = base_models.prepare_base_model(wanted.base_model, self.cache, progress)
        return export_harbor(prepare_task(found, profile, self.cache, progress), model, target)

    def check_task(self, task: str, profile: str, progress: Progress | None = None, record: bool = False) -> TaskCheck:
        """Check a task's directory, data and grader; with ``record`` measure its references and write its admission record.

        Raises:
            NotFoundError: no such task, or it has no such profile.
        """
        from harness.executor.checks import check_task, record_admission

        found = self.task(task)
        wanted = profile_of(found.dojo.profiles, found.id, profile)

        def base_model() -> base_models.BaseModel:
            return base_models.prepare_base_model(wanted.base_model, self.cache, progress)

        if record:
            prepared = prepare_task(found, profile, self.cache, progress)
            record_admission(prepared, base_model(), get_backend(self._sandbox), self.cache, progress)
        return check_task(found, profile, self.cache, base_model, progress)

    def check_agent(self, agent: str) -> list[Check]:
        """Check an agent's directory."""
        from harness.executor.checks import check_agent

        return check_agent(self.agent(agent))

    def new_agent(self, name: str, folder: Path | None = None) -> agent_dir.Agent:
        """Start an agent as a copy of ``example_shell`` in ``folder`` (default: the first directory agents are found in)."""
        from harness.executor.checks import new_agent

        return new_agent(name, folder or agent_dir.agent_roots(self._agent_roots)[0], self.agent("example_shell"))

    def images(self) -> list[dict[str, Any]]:
        """Return every image that container backends can use, and whether it is built.

        Raises:
            MissingError: no engine answers.
        """
        from harness.sandbox.images import all_images
        from harness.sandbox.images.state import describe

        return [describe(image) for image in all_images()]

    def build_images(
        self, names: Sequence[str] = (), variant: str = "cpu", way: str | None = None, progress: Progress | None = None
    ) -> list[dict[str, Any]]:
        """Build images that are not up to date, with what they stand on; return how they stand then.

        Args:
            names: which; empty: task and grader.
            variant: cpu or cuda.
            way: "registry", "offline", or None to try them in this order.
            progress: told what is being done.

        Raises:
            NotFoundError: no such image.
            MissingError: no engine, or something that the build needs is not to be had.
        """
        from harness.sandbox.images import find_image
        from harness.sandbox.images.build import build, choose_way
        from harness.sandbox.images.state import describe

        say = progress or (lambda text: None)
        images = [find_image(name, variant) for name in names or ("task", "grader")]
        for image in images:
            build(image, choose_way(image, way, say), self.cache, say)
        return [describe(image) for image in images]

    def verify_images(self, names: Sequence[str] = (), variant: str = "cpu") -> list[Check]:
        """Check images against the lock file and try what they hold; default: all that are built.

        Raises:
            NotFoundError: no such image.
            MissingError: no engine answers.
        """
        from harness.sandbox.images import all_images, find_image
        from harness.sandbox.images.state import built
        from harness.sandbox.images.verify import verify

        images = [find_image(name, variant) for name in names] or [image for image in all_images() if built(image)]
        if not images:
            raise MissingError("no image is built", hint="dojo images build")
        return [check for image in images for check in verify(image)]

    def data(self) -> list[dict[str, Any]]:
        """Return what the cache holds."""
        from harness.assets.catalogue import list_cache

        return list_cache(self.cache)

    def planned_fetches(self, name: str, profile: str) -> list[Fetch]:
        """Return what `prepare_data` would fetch, without fetching anything.

        Raises:
            NotFoundError: no such task, or it has no such profile.
            SpecError: the task does not declare what it fetches.
        """
        from harness.assets.dry_run import planned_fetches

        task = self.task(name)
        return planned_fetches(task, profile, profile_of(task.dojo.profiles, task.id, profile).base_model, self.cache)

    def verify_data(self, name: str | None = None) -> list[Check]:
        """Compare the cache's files (all, or those of one task or model) with their checksums.

        Raises:
            MissingError: the cache holds nothing of that name.
        """
        from harness.assets.catalogue import verify_cache

        found = verify_cache(self.cache, name)
        if not found:
            raise MissingError(f"the cache holds no {name or 'data'}", hint="`dojo data prepare TASK` fills it")
        return [
            Check(what, not problems, "; ".join(problems[:5]) or "whole", "remove it and run `dojo data prepare` again")
            for what, problems in found
        ]

    def schemas(self) -> dict[str, Any]:
        """Return the JSON schema of everything users write or read, by name."""
        from harness.spec.schemas import schemas

        return schemas()

    def score_rows(self, task: str, rows: Path, responses: Path) -> dict[str, Any]:
        """Score given answers to given items with the task's own grader; no model, no run."""
        from harness.grading.score_rows import score_rows

        return score_rows(task_dir.find_task(task, self._task_roots).path, rows, responses)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _dir(self, row: RunRow) -> RunDir:
        return self.store.run_dir(row.batch, row.id)

    def _rows(self, reference: str) -> list[RunRow]:
        found = self.store.resolve(reference, "any")
        return [row for row in self.store.runs() if found in (row.id, row.batch)]

    def _resolve(self, spec: RunSpec, progress: Progress | None = None) -> Assets:
        """Prepare (or find in the cache) what a planned run is made from.

        Raises:
            MissingError: task, data or base model are not what the run was planned with.
        """
        key = (spec.task.id, spec.task.profile, spec.base_model.name)
        with self._assets_lock:
            if key not in self._assets:
                task = task_dir.find_task(spec.task.id, self._task_roots)
                model = base_models.prepare_base_model(spec.base_model.name, self.cache, progress)
                self._assets[key] = Assets(prepare_task(task, spec.task.profile, self.cache, progress), model)
            assets = self._assets[key]
        planned = (spec.task.digest, spec.task.data_digest, spec.base_model.digest)
        now = (assets.prepared.task.digest, assets.prepared.digest, assets.base_model.digest)
        for what, before, after in zip(("the task", "its data", "the base model"), planned, now, strict=True):
            if before != after:
                raise MissingError(
                    f"run {spec.id}: {what} has changed since it was planned ({before[:12]} → {after[:12]})",
                    hint=f"bring back the version it was planned with, or submit {spec.task.id} anew",
                )
        return assets

    def _references(self, spec: RunSpec, assets: Assets) -> tuple[Reference, ...]:
        from harness.grading.references import references_for

        return references_for(
            assets.prepared, assets.base_model, spec.generation, spec.limits, get_backend(spec.sandbox), self.cache
        )

    def _detach(self, batch: str, parallel: int | None) -> None:
        log = self.home / "batches" / batch / "detached.log"
        command = [sys.executable, "-m", "harness.cli.main", "resume", batch]
        command += ["--parallel", str(parallel)] if parallel else []
        environment = {**os.environ, "DOJO_HOME": str(self.home), "DOJO_CACHE": str(self.cache)}
        with closing(log.open("ab")) as out:
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, start_new_session=True)
