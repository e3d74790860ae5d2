"""An agent phase without a model: real sandboxes, services, clock and collection; what is handed in is taken and not scored."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from harness.assets.base_models import BaseModel
from harness.assets.prepare import PreparedTask
from harness.attack.ground import Ground
from harness.attack.live_api import attack_spec
from harness.grading.evaluator import Evaluator
from harness.session.agent_phase import AgentPhase
from harness.session.assets import Assets
from harness.session.journal import Journal
from harness.session.llm import OpenedBackbone
from harness.session.site import RunSite
from harness.spec.agent import AgentConfig
from harness.spec.backbone import BackboneRef
from harness.spec.budget import Budget
from harness.spec.errors import MissingError
from harness.spec.event import Event, EventKind
from harness.spec.outcome import Outcome
from harness.spec.run import AgentRef
from harness.spec.submission import SubmissionReport
from harness.spec.task import Limits
from harness.store.run_dir import RunDir


class _TakesAll:
    """Stands where the dev evaluator does: everything would load, nothing is scored."""

    def check(self, folder: Path) -> SubmissionReport:
        """Let it pass."""
        return SubmissionReport(ok=True, kind="base")


class UnjudgedSite(RunSite):
    """A run's site without a grader."""

    def dev_evaluator(self) -> Evaluator:
        """Return what takes all."""
        return cast(Evaluator, _TakesAll())

    def task_view(self) -> dict[str, Any]:
        """Return nothing: these agents know what they want."""
        return {}


@dataclass(frozen=True)
class Phase:
    """A run that stands before its agent phase."""

    site: UnjudgedSite
    run: RunDir
    journal: Journal

    def play(self, phase: type[AgentPhase] = AgentPhase) -> Outcome | None:
        """Let the agent run to the end of its budget."""
        return phase(self.site, self.journal, threading.Event(), lambda: False).run()

    def of_kind(self, kind: EventKind) -> list[Event]:
        """Return the events of one kind."""
        return [event for event in self.run.events() if event.kind is kind]


@contextlib.contextmanager
def standing(
    ground: Ground,
    config: AgentConfig,
    files: Mapping[str, str],
    *,
    limits: Limits,
    budget: Budget,
    site: type[UnjudgedSite] = UnjudgedSite,
) -> Iterator[Phase]:
    """Make an agent's folder and its run's site; everything of it is gone afterwards. Nothing runs yet."""
    id = f"attack-{os.getpid()}-{secrets.token_hex(4)}"
    spec = attack_spec().model_copy(
        update={"id": id, "agent": AgentRef(config=config, digest="-"), "limits": limits, "budget": budget}
    )
    folder = ground.folder()
    run = RunDir.create(folder / "batches" / "attack" / "runs" / id, spec)
    run.agent_dir.mkdir()
    for name, text in files.items():
        path = run.agent_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    for path in (run.agent_dir, *run.agent_dir.rglob("*")):
        path.chmod(0o755)
    made = site(spec, run, ground.backend, _assets(folder), 1, _no_backbone)
    try:
        yield Phase(made, run, Journal(run, lambda state: None))
    finally:
        made.clear()


def python_of_an_agent(program: str) -> tuple[str, ...]:
    """Return the argv of an agent that is this program."""
    return ("python", "-c", program)


def python_version() -> str:
    """Return the version that is part of the names of Python's folders."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _assets(folder: Path) -> Assets:
    for name in ("sources", "model"):
        (folder / name).mkdir()
    for name in ("card.md", "few_shot.jsonl", "dev.jsonl"):
        (folder / name).touch()
    task = SimpleNamespace(dojo=SimpleNamespace(show_dev_answers=False))
    prepared = SimpleNamespace(
        dir=folder, few_shot_path=folder / "few_shot.jsonl", dev_path=folder / "dev.jsonl", task=task, digest="-"
    )
    return Assets(cast(PreparedTask, prepared), BaseModel("none", folder / "model", "-", 0))


def _no_backbone(planned: BackboneRef, run: RunDir) -> OpenedBackbone:
    raise MissingError("these runs have no backbone")
