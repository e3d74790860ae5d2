"""`dojo tasks check` and `dojo agents check`: would it run, and is it fit to measure with?"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from harness.assets.agent_dir import Agent, find_agent
from harness.assets.base_models import BaseModel
from harness.assets.grader import load_grader
from harness.assets.package import Progress
from harness.assets.prepare import PreparedTask, prepare_task
from harness.assets.task_dir import Task
from harness.grading.references import measure_references, write_admission
from harness.sandbox.base import Backend, Check
from harness.spec.errors import DojoError, UsageError

_HARBOR_FILES = ("task.toml", "instruction.md", "environment/Dockerfile", "tests/test.sh", "solution/solve.sh")
_OWN_FILES = ("README.md", "prepare.py", "tests/grader.py", "tests/task.yaml")


def check_agent(agent: Agent) -> list[Check]:
    """Check an agent's directory: what its command names must be there."""
    command = agent.config.command
    inside = [part for part in command if part.startswith("/agent/")]
    missing = [part for part in inside if not (agent.path / part.removeprefix("/agent/")).is_file()]
    hidden = [p.name for p in agent.path.rglob("*") if p.is_symlink()]
    remedy = "replace them by the files: the directory is copied for each run"
    return [
        Check("agent.toml", True, f"{agent.config.name} {agent.config.version}"),
        Check("command", not missing, " ".join(command), f"{', '.join(missing)} is not in {agent.path.name}/"),
        Check("links", not hidden, f"{len(hidden)} symbolic links", remedy),
        Check("README.md", (agent.path / "README.md").is_file(), "says what the agent does", "write one"),
    ]


def check_task(task: Task, profile: str, cache: Path, progress: Progress | None = None) -> list[Check]:
    """Check a task: its files, its data, its grader on known answers, and room above trivial answers."""
    missing = [name for name in (*_HARBOR_FILES, *_OWN_FILES) if not (task.path / name).is_file()]
    checks = [
        Check("task.toml", True, f"{task.id} version {task.dojo.version}"),
        Check(
            "files", not missing, "missing: " + ", ".join(missing) if missing else "all there", "docs/write-a-task.md lists them"
        ),
    ]
    try:
        prepared = prepare_task(task, profile, cache, progress)
    except DojoError as exc:
        return [*checks, Check("data", False, exc.message, exc.hint)]
    steps: list[tuple[str, Callable[[], str]]] = [
        (
            "data",
            lambda: (
                f"{_count(prepared.dev_path)} dev, {_count(prepared.hidden_path)} hidden items, digest {prepared.digest[:12]}"
            ),
        ),
        ("oracle", lambda: _oracle(prepared)),
        ("empty answers", lambda: _empty(prepared)),
    ]
    for name, step in steps:
        try:
            checks.append(Check(name, True, step()))
        except DojoError as exc:
            checks.append(Check(name, False, exc.message, exc.hint))
    return checks


def record_admission(prepared: PreparedTask, base_model: BaseModel, backend: Backend, progress: Progress | None = None) -> Check:
    """Measure base, few-shot base, majority and degenerate answers anew and write them into the task's directory.

    Raises:
        GraderFailure: the grader broke while measuring.
    """
    profile = next(spec for name, spec in prepared.task.dojo.profiles.items() if name == prepared.profile)
    found = measure_references(prepared, base_model, profile.generation, profile.limits, backend, progress)
    path = prepared.task.path / "admission" / f"{prepared.profile}.json"
    write_admission(path, found)
    shown = ", ".join(f"{r.name} {r.scores.primary.value:.3f}" for r in (*found.references, *found.degenerate))
    return Check("admission", True, f"{path.parent.name}/{path.name}: {shown}")


def new_agent(name: str, folder: Path, example: Agent) -> Agent:
    """Start an agent as a copy of ``example`` under its own name.

    Raises:
        UsageError: the name is no agent name, or the directory exists.
    """
    name = name.replace("-", "_")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", name):
        raise UsageError(f"{name!r} is no agent name", hint="use small letters, digits and _")
    target = folder / name
    if target.exists():
        raise UsageError(f"{target} exists already", hint="choose another name")
    shutil.copytree(example.path, target, ignore=shutil.ignore_patterns("__pycache__"))
    config = target / "agent.toml"
    text = config.read_text(encoding="utf-8").replace(f'name = "{example.config.name}"', f'name = "{name}"')
    config.write_text(text, encoding="utf-8")
    (target / "README.md").write_text(f"# {name}\n\nWhat it does and how.\n", encoding="utf-8")
    return find_agent(str(target))


def _count(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _items(prepared: PreparedTask) -> list[dict[str, object]]:
    return [json.loads(line) for line in prepared.few_shot_path.read_text(encoding="utf-8").splitlines()]


def _oracle(prepared: PreparedTask) -> str:
    grader = load_grader(prepared.task.path)
    items = _items(prepared)
    for item in items:
        answer = grader.score(item["row"], str(item["answer"]), str(item["subset"]))  # type: ignore[arg-type]
        if not answer.parsed or answer.score < 1.0:
            raise UsageError(
                f"the worked answer of {item['id']} scores {answer.score}", hint="mend tests/grader.py or prepare.py"
            )
    return f"{len(items)} worked answers score 1"


def _empty(prepared: PreparedTask) -> str:
    grader = load_grader(prepared.task.path)
    for item in _items(prepared):
        for response in ("", str(item["prompt"])):
            answer = grader.score(item["row"], response, str(item["subset"]))  # type: ignore[arg-type]
            if answer.score >= 1.0:
                raise UsageError(f"an empty or echoed answer to {item['id']} scores {answer.score}", hint="mend tests/grader.py")
    return "empty and echoed answers score nothing"
