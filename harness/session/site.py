"""Where a run happens: runtime folder, sandboxes, mounts, environment, services.

All names are derived from the run, so any process finds them again.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from harness.assets import installs
from harness.files import write_atomic
from harness.grading.evaluator import Evaluator, Exam
from harness.sandbox.base import Backend, Mount, Sandbox, SandboxSpec
from harness.sandbox.runtime import runtime_root
from harness.session import dojo_tool
from harness.session.assets import Assets
from harness.session.hidden_places import check_places, require_fine
from harness.session.llm import LlmGateway, OpenedBackbone
from harness.session.services import AgentApi, RunService
from harness.spec.backbone import BackboneRef
from harness.spec.errors import GraderFailure, SandboxError, SandboxUnavailable
from harness.spec.run import RunSpec
from harness.store.run_dir import RunDir

AGENT_PROCESS = "agent"
# far above what a loaded machine needs to start an interpreter
_TRIAL_S = 60.0


class RunSite:
    """Makes, finds and removes what one attempt of a run needs on this host.

    ``opening`` makes the run's backbone ready; only an agent phase calls it.
    """

    def __init__(
        self,
        spec: RunSpec,
        run: RunDir,
        backend: Backend,
        assets: Assets,
        attempt: int,
        opening: Callable[[BackboneRef, RunDir], OpenedBackbone],
    ) -> None:
        self.spec, self.run, self.backend, self.assets, self.attempt = spec, run, backend, assets, attempt
        self.runtime = runtime_root() / "runs" / spec.id
        self.services: tuple[RunService, ...] = (AgentApi(self.runtime / "api" / "api.sock", self.token),)
        if spec.backbone is not None:
            socket, grants = self.runtime / "llm" / "llm.sock", assets.prepared.task.dojo.backbone_grants
            self.services += (LlmGateway(spec.backbone, run, socket, self.token, opening, grants),)

    @property
    def own(self) -> bool:
        """Whether the agent program has a sandbox of its own beside the task sandbox."""
        return self.spec.agent.config.placement == "own"

    def sandbox_id(self, role: str) -> str:
        """Return the id of this attempt's sandbox: task, agent, dev or grade."""
        return f"{self.spec.id}-{self.attempt}-{role}"

    def token(self) -> str:
        """Return the run's API token, made at the first call."""
        path = self.run.private / "token"
        if not path.exists():
            write_atomic(path, secrets.token_urlsafe(24).encode(), 0o600)
        return path.read_text()

    def build(self) -> None:
        """Write the runtime folder: the services' socket folders and dojo-tool."""
        source = Path(dojo_tool.__file__).read_bytes()
        for folder in ("tool", "tool/bin", "tool/lib"):
            (self.runtime / folder).mkdir(parents=True, exist_ok=True)
            (self.runtime / folder).chmod(0o755)  # the agent reads it as another user, whatever the caller's umask
        for service in self.services:
            service.relay.socket.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.runtime / "home", str(self.run.path.parents[3]).encode())  # whose run this is, for `dojo gc`
        write_atomic(self.runtime / "tool/bin/dojo-tool", source, 0o755)
        write_atomic(self.runtime / "tool/lib/dojo_tool.py", source, 0o644)

    def create_sandboxes(self) -> None:
        """Create the task sandbox and, for placement "own", the agent's.

        Raises:
            MissingError: they would be shown hidden things that lie below the host's system.
        """
        places = {"prepared data": self.assets.prepared.dir, "results": self.run.path}
        require_fine(check_places(places, self.backend))
        mounts = self._task_mounts()
        if not self.own:
            mounts += self._agent_mounts()
        relays, limits = tuple(service.relay for service in self.services), self.spec.shares
        labels = {"dojo.run": self.spec.id}
        self.backend.create(
            SandboxSpec(
                self.sandbox_id("task"),
                limits["task"],
                tuple(mounts),
                relays,
                self.environment(),
                labels,
                gpu_owner=self.spec.id,
                gives_way=True,
            )
        )
        if self.own:
            self.backend.create(
                SandboxSpec(
                    self.sandbox_id("agent"),
                    limits["agent"],
                    tuple(self._agent_mounts()),
                    relays,
                    self.environment(),
                    labels,
                    image=self.spec.agent.config.image or "task",
                    gives_way=True,
                )
            )

    def attach_sandboxes(self) -> tuple[Sandbox, Sandbox]:
        """Return (task sandbox, sandbox the agent program runs in).

        Raises:
            SandboxUnavailable: one of them is gone.
        """
        task = self.backend.attach(self.sandbox_id("task"))
        return task, self.backend.attach(self.sandbox_id("agent")) if self.own else task

    def try_python(self) -> None:
        """Run the sandboxes' Python once, before the clock starts: nothing of the agent's may have a part in it.

        Raises:
            SandboxError: it does not run.
        """
        for sandbox in set(self.attach_sandboxes()):
            result = sandbox.exec(["python", "-I", "-S", "-c", ""], cwd="/", timeout_s=_TRIAL_S)
            if not result.ok:
                raise SandboxError(
                    f"python does not run in the sandbox: {result.stderr.decode(errors='replace')[-300:]}",
                    hint="`dojo doctor` checks the backend",
                )

    def evaluator(self, split: Literal["dev", "hidden"], submission: Path | None = None, gives_way: bool = False) -> Evaluator:
        """Start a fresh grader sandbox for ``split`` ("dev" or "hidden"); remains of an earlier one are removed first.

        It waits for a place for as long as the backend lets it; with ``gives_way`` see `SandboxSpec`.
        """
        return self.examine(self._exam(split), submission, "dev" if split == "dev" else "grade", gives_way)

    def examine(
        self, exam: Exam, submission: Path | None, role: Literal["dev", "grade"] = "grade", gives_way: bool = False
    ) -> Evaluator:
        """Start a fresh grader sandbox for an exam; remains of an earlier one of this role are removed first."""
        self.backend.destroy(self.sandbox_id(role))
        return Evaluator.start(
            self.backend,
            self.sandbox_id(role),
            exam,
            self.spec.limits,
            submission_dir=submission,
            gpu_owner=self.spec.id,
            gives_way=gives_way,
        )

    def _exam(self, split: Literal["dev", "hidden"]) -> Exam:
        return Exam.of(self.assets.prepared, self.assets.base_model, self.spec.generation, split)

    def dev_evaluator(self) -> Evaluator:
        """Return the running dev evaluator, or start one."""
        try:
            evaluator = Evaluator.attach(self.backend, self.sandbox_id("dev"), self._exam("dev"))
        except (SandboxUnavailable, GraderFailure):
            return self.evaluator("dev")
        return evaluator

    def destroy(self, *roles: str) -> None:
        """Remove this attempt's sandboxes of these roles and all their remains, in this order.

        One that may share its run's GPUs goes before the task sandbox, which has them.
        """
        for role in roles:
            self.backend.destroy(self.sandbox_id(role))

    def clear(self) -> None:
        """Remove everything of this attempt from the host but the run's folder."""
        self.destroy("dev", "grade", "task", "agent")
        shutil.rmtree(self.runtime, ignore_errors=True)

    def environment(self) -> dict[str, str]:
        """Return what every command in the agent's sandboxes finds in its environment; nothing in it is the agent's own."""
        threads = str(max(1, int(self.spec.shares["task"].cpus)))
        return {
            **{name: value for service in self.services for name, value in service.env().items()},
            "DOJO_SEED": str(self.spec.seed),
            "OMP_NUM_THREADS": threads,
            "OMP_WAIT_POLICY": "passive",
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONUNBUFFERED": "1",
        }

    def agent_environment(self) -> dict[str, str]:
        """Return what its own process finds beside that: the words of ``agent.toml``, which reach nothing before the clock."""
        config = self.spec.agent.config
        return {"DOJO_AGENT_PARAMS": json.dumps(config.params), **config.env}

    def task_view(self) -> dict[str, Any]:
        """Return what ``GET /v1/task`` answers."""
        task, prepared = self.assets.prepared.task, self.assets.prepared
        spec = self.spec.model_copy(update={"limits": self.spec.shares["task"]})  # of the sandbox it will train in
        dojo = task.dojo
        examples = [json.loads(line) for line in prepared.few_shot_path.read_text(encoding="utf-8").splitlines()]
        return {
            "id": task.id,
            "profile": spec.task.profile,
            "title": dojo.title,
            "goal": prepared.goal(spec),
            "answer_format": dojo.answer_format,
            "metric": dojo.metric.model_dump(),
            "subsets": [s.model_dump() for s in dojo.subsets],
            "base_model": {"name": spec.base_model.name, "path": "/models/base"},
            "data": {
                "path": "/data",
                "card": "/data/card.md",
                "few_shot": "/data/few_shot.jsonl",
                "sources": [
                    {"name": s.name, "path": f"/data/sources/{s.path.name}", "rows": s.rows, "description": s.description}
                    for s in prepared.sources
                ],
            },
            "examples": [{"prompt": e["prompt"], "answer": e["answer"]} for e in examples],
            "generation": spec.generation.model_dump(exclude={"engine"}),
            "submission_policy": dojo.submission_policy,
            "train_on_dev": dojo.train_on_dev,
            "max_train_samples": dojo.max_train_samples,
            "limits": spec.limits.model_dump(),
            "budget": spec.budget.model_dump(),
            "seed": spec.seed,
        }

    def _task_mounts(self) -> list[Mount]:
        prepared, spec = self.assets.prepared, self.spec
        data, digest = f"data:{spec.task.id}:{spec.task.profile}", spec.task.data_digest
        return [
            Mount(
                self.assets.base_model.path, "/models/base", asset=f"model:{spec.base_model.name}", digest=spec.base_model.digest
            ),
            Mount(prepared.dir / "sources", "/data/sources", asset=f"{data}/sources", digest=digest),
            Mount(prepared.dir / "card.md", "/data/card.md", asset=f"{data}/card.md", digest=digest),
            Mount(prepared.few_shot_path, "/data/few_shot.jsonl", asset=f"{data}/few_shot.jsonl", digest=digest),
            Mount(self.runtime / "tool", "/opt/dojo"),
        ]

    def _agent_mounts(self) -> list[Mount]:
        agent = self.spec.agent
        mounts = [Mount(self.run.agent_dir, "/agent", asset=f"agent:{agent.name}", digest=agent.digest)]
        if self.assets.install is not None:
            path = installs.require_install(self.assets.install, agent.name)
            mounts.append(Mount(path, installs.TARGET, asset=f"install:{agent.name}", digest=agent.install))
        return mounts if not self.own else [*mounts, Mount(self.runtime / "tool", "/opt/dojo")]
