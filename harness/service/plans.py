"""Planning: from names, or a matrix file, to a batch of frozen runs, with everything checked before anything is fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from harness.assets.base_models import BaseModel, prepare_base_model, require_known
from harness.assets.grader_side import grader_code, task_code
from harness.assets.installs import prepare_install, require_install
from harness.assets.prepare import PreparedTask, prepare_task
from harness.assets.task_dir import Task
from harness.executor.agent_checks import installed, refuse_command
from harness.executor.base import Executor, Work
from harness.executor.planner import (
    BatchPlan,
    budget_of,
    check_minds,
    plan_again,
    plan_batch,
    profile_of,
    refuse_doubles,
)
from harness.executor.registry import get_executor
from harness.executor.variants import Contender, contender
from harness.extras import require
from harness.grading.engines import choose_engine
from harness.grading.side.sets import choose
from harness.sandbox.base import is_elsewhere
from harness.sandbox.registry import get_backend
from harness.service.bench import Bench
from harness.session.hidden_places import check_modes, check_places, require_fine
from harness.session.readable_places import check_readable
from harness.spec.backbone import BackboneRef
from harness.spec.budget import limits_in
from harness.spec.errors import DojoError, MissingError, UsageError
from harness.spec.matrix import AgentEntry, Matrix
from harness.spec.progress import Progress
from harness.spec.run import PUBLIC_HIDDEN
from harness.store.base import RunFilter
from harness.store.run_dir import EventListener

Where = Callable[..., str]
"""Says where in a file a place of a matrix stands: ``where("agents", 1, "params") == "no-feedback.toml:12"``; "": nowhere."""

# So many faults of a matrix are told at once; the others are counted.
_TOLD = 3


@dataclass(frozen=True)
class _Checked:
    """A matrix whose names all stand for something, and whose values all fit; nothing was fetched for it."""

    agents: list[Contender]
    tasks: list[Task]
    backbones: list[BackboneRef | None]
    budgets: list[Mapping[str, object]]
    profile: str


class Plans(Bench):
    """What is done before a run starts."""

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
        public_hidden: bool = False,
        progress: Progress | None = None,
    ) -> BatchPlan:
        """Plan the matrix of a submit: every agent on every task with every seed; see `plan_matrix`."""
        matrix = Matrix.model_construct(
            name=name or "",
            profile=cast(Any, profile),  # an unknown one is named with the task
            seeds=tuple(seeds),
            limit=limit,
            public_hidden=public_hidden,
            tasks=tuple(tasks),
            agents=tuple(AgentEntry.model_construct(name=agent, params=dict(agent_params or {})) for agent in agents),
            budgets=(limits_in(budget),) if budget else (),
            base_models=(base_model,) if base_model else (),
            backbones=(backbone,) if backbone else (),
        )
        return self.plan_matrix(matrix, sandbox=sandbox, executor=executor, progress=progress)

    def plan_matrix(
        self,
        matrix: Matrix,
        *,
        sandbox: str | None = None,
        executor: str = "local",
        where: Where | None = None,
        progress: Progress | None = None,
    ) -> BatchPlan:
        """Plan a matrix as one batch, and check everything that can be checked beforehand.

        Prepares data and base models where they are not in the cache yet, once nothing is wrong with the matrix.

        Args:
            matrix: what to run; without a profile it is ``mini``, as without any setting.
            sandbox: backend; default the one that was set.
            executor: who drives the batch.
            where: says where in its file a place of the matrix stands, for what is wrong with it.
            progress: told what takes long.

        Raises:
            UsageError: an unknown name, a value out of range.
            MissingError: data, a model, isolation or a GPU that this machine does not have.
            EngineMissing: graders are to generate with vLLM, and it is not here.
        """
        runs_on = self._executor(executor)
        sandbox = _sandbox_of(runs_on, sandbox)
        found = self._check(matrix, where, sandbox)
        backend = self._checked_backend(sandbox)
        if backend not in ("docker", "kubernetes"):  # images bring their own
            require("torch", "transformers", "peft", "lm_eval", "math_verify")
        prepared = []
        gpus = False
        drawn_with = PUBLIC_HIDDEN if matrix.public_hidden else None
        for task in found.tasks:  # from here on things are fetched
            wanted = profile_of(task.dojo.profiles, task.id, found.profile)
            choose(wanted.side, beside=task.path)
            gpus = gpus or wanted.limits.gpus > 0
            if is_elsewhere(runs_on) or not is_elsewhere(get_backend(backend)):
                runs_on.check(wanted.limits)
                where_graded = get_backend(backend)
                choose_engine(wanted.generation.engine, wanted.limits.gpus, where_graded).mounts(where_graded)
            models = matrix.base_models or (wanted.base_model,)
            ready = [(model, prepare_base_model(model, self.cache, progress)) for model in models]
            data = prepare_task(task, found.profile, self.cache, progress, hidden=drawn_with)
            prepared += [(data, model, made) for model, made in ready]
        require_fine(
            check_modes(self.cache, [data.dir for data, _, _ in prepared]),
            check_readable(_shown(prepared), get_backend(backend)),
        )
        made = {one.agent.name: prepare_install(one.agent, self.cache, progress) for one in found.agents}
        for one in found.agents:  # once more, as now there is what it has installed
            install = made[one.agent.name]
            refuse_command(one.agent, install.path if install else None, get_backend(backend))
        plan = plan_batch(
            found.agents,
            prepared,
            matrix.seeds,
            home=self.home,
            executor=executor,
            limit=matrix.limit,
            sandbox=backend,
            budgets=found.budgets,
            backbones=found.backbones,
            name=matrix.name,
            installs={agent: install.digest for agent, install in made.items() if install is not None},
            image=self._image(backend, gpus),
        )
        left_out = [f"task {each.name} is left out: {each.message}" for each in self.left_out(matrix.tasks)]
        return plan.model_copy(update={"warnings": (*plan.warnings, *left_out)})

    def plan_again(
        self, runs: Sequence[str], name: str = "", progress: Progress | None = None, executor: str | None = None
    ) -> BatchPlan:
        """Plan finished runs once more as they were: agent, task, data, seed, budget, parameters.

        Args:
            runs: which.
            name: of the new batch.
            progress: told what takes long.
            executor: who drives it; default the one that drove those runs.

        Raises:
            UsageError: there are none, they were driven by several executors and none is named, or theirs cannot have their
                sandbox.
            MissingError: a task, its data or a base model is not what it was, or the sandbox is not to be had.
        """
        found = [self.store.resolve(run, "run") for run in runs]
        executor = executor or self._executor_of_all(found)
        plan = plan_again([self.store.files(run).spec() for run in found], name, executor)
        drives = self._executor(executor)
        for spec in plan.runs:
            _sandbox_of(drives, spec.sandbox)
            self._checked_backend(spec.sandbox)
            assets = self._library.assets(spec, progress)
            if assets.install is not None:
                require_install(assets.install, spec.agent.name)
        return plan

    def _check(self, matrix: Matrix, where: Where | None, sandbox: str | None = None) -> _Checked:
        """Look every name of a matrix up and try every value; fetch nothing.

        Raises:
            UsageError: something is unknown or does not fit; of several faults the first ones are told.
            MissingError: everything is known and something is not to be had here.
        """
        faults = _Faults(where)
        agents: list[Contender] = []
        for number, entry in enumerate(matrix.agents):
            with faults.at("agents", number, "name"):
                agent = self.agent(entry.name)
                for name in entry.params:
                    with faults.at("agents", number, "params", name):
                        contender(entry.name, agent, {name: entry.params[name]})
                if not faults.in_entry("agents", number):
                    agents.append(contender(entry.name, agent, entry.params, entry.label))
        tasks: dict[str, Task] = {}
        for number, pattern in enumerate(matrix.tasks):
            with faults.at("tasks", number):
                tasks |= {task.id: task for task in self.expand_tasks([pattern])}
        minds: list[BackboneRef | None] = []
        for number, backbone in enumerate(matrix.backbones):
            with faults.at("backbones", number):
                minds.append(self._library.plan_backbone(backbone, self.store))
        for number, model in enumerate(matrix.base_models):
            with faults.at("base_models", number):
                require_known(model, self.cache)
        faults.tell()
        profile = matrix.profile or "mini"
        budgets: list[Mapping[str, object]] = [*matrix.budgets] or [{}]
        for number, limits in enumerate(budgets):
            with faults.at("budgets", number):
                for task in tasks.values():
                    budget_of(task.dojo.profiles, task.id, profile, limits)
        faults.tell()
        for mind in minds or [None]:
            wanted = [budget_of(task.dojo.profiles, task.id, profile, limits) for task in tasks.values() for limits in budgets]
            check_minds([one.config for one in agents], wanted, mind)
        with faults.at("agents"):
            refuse_doubles(agents)
        backend = get_backend(sandbox or self._sandbox)
        for number, one in enumerate(agents):
            with faults.at("agents", number, "name"):
                refuse_command(one.agent, installed(one.agent, self.cache), backend)
        with faults.at("seeds"):
            refuse_doubles([], matrix.seeds)
        with faults.at("budgets"):
            refuse_doubles([], budgets=budgets)
        with faults.at("backbones"):
            refuse_doubles([], backbones=minds)
        faults.tell()
        return _Checked(agents, list(tasks.values()), minds or [None], budgets, profile)

    def _executor_of_all(self, runs: Sequence[str]) -> str:
        batches = self.store.batches(RunFilter(runs=tuple(runs))) if runs else []
        names = sorted({batch.settings.get("executor", "local") for batch in batches})
        if len(names) > 1:
            text = f"these runs were driven by several executors: {', '.join(names)}"
            raise UsageError(text, hint="name the one that is to drive them now: --executor")
        return names[0] if names else "local"

    def _checked_backend(self, name: str | None) -> str:
        backend = get_backend(name or self._sandbox)
        bad = next((check for check in backend.check() if not check.ok), None)
        if bad:
            raise MissingError(f"sandbox {backend.name}: {bad.name}: {bad.detail}", hint=bad.hint)
        require_fine(check_places(self.hidden_places(), backend))
        return backend.name

    def _image(self, backend: str, gpus: bool) -> str:
        """Return what tells the image of the task sandboxes from others; "" for backends that show this host's system."""
        variant = "cuda" if gpus else "cpu"
        if backend == "kubernetes":  # which state of it is the nodes' to say
            from harness.sandbox.images import reference

            return reference("task", variant)
        if backend != "docker":
            return ""
        from harness.sandbox.images.state import identity

        return identity("task", variant)

    def _executor(self, name: str, parallel: int | None = None, listener: EventListener | None = None) -> Executor:
        return get_executor(name, Work(self._runner(), parallel, listener))


def _sandbox_of(executor: Executor, asked: str | None) -> str | None:
    """Return the sandbox backend to use: the only one that an executor's runners can, where there is such a one.

    Raises:
        UsageError: another one was asked for.
    """
    only: str | None = getattr(executor, "sandbox", None)
    if only is not None and asked not in (None, only):
        raise UsageError(
            f"runs of the executor {executor.name} cannot have the sandbox {asked}: their runners live in pods",
            hint=f"--sandbox {only}, or leave it out",
        )
    return only or asked


def _shown(prepared: Sequence[tuple[PreparedTask, str, BaseModel]]) -> dict[str, list[Path]]:
    """Return what sandboxes will be shown of folders that people have made, in words."""
    models = {f"base model {model.name}": [model.path] for _, _, model in prepared}
    graders = {f"the grader of {data.task.id}": [path for path, _ in task_code(data.task.path)] for data, _, _ in prepared}
    return {**models, **graders, "dojo's own code": [path for path, _ in grader_code()]}


class _Faults:
    """What is wrong with a matrix: gathered, so that a file is mended in one go."""

    def __init__(self, where: Where | None) -> None:
        self._where = where
        self._found: list[tuple[tuple[int | str, ...], DojoError]] = []

    @contextmanager
    def at(self, *place: int | str) -> Iterator[None]:
        """Keep the error that the block raises, as one of ``place``."""
        try:
            yield
        except DojoError as exc:
            self._found.append((place, exc))

    def in_entry(self, *place: int | str) -> bool:
        """Whether something is wrong at ``place`` or in it."""
        return any(found[: len(place)] == place for found, _ in self._found)

    def tell(self) -> None:
        """Raise what was found, if anything was.

        Raises:
            DojoError: of the first fault's kind where all are of one, else a UsageError where one is.
        """
        if not self._found:
            return
        found = sorted(self._found, key=lambda fault: not isinstance(fault[1], UsageError))
        (place, first), *others = found[:_TOLD]
        message = self._words(place, first)
        message += "".join(f"; {self._words(place, error)} ({error.hint})" for place, error in others)
        message += f" (and {len(found) - _TOLD} more)" if len(found) > _TOLD else ""
        raise type(first)(message, hint=first.hint, code=first.code) from first

    def _words(self, place: tuple[int | str, ...], error: DojoError) -> str:
        line = self._where(*place) if self._where else ""
        return f"{line}: {error.message}" if line else error.message
