"""A task as a self-contained Harbor task: its directory with data, base model and grader put where its Dockerfiles look."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

from harness.assets.base_models import BaseModel
from harness.assets.prepare import PreparedTask
from harness.assets.tree import build_folder
from harness.spec.errors import MissingError, UsageError
from harness.spec.task import ProfileSpec

_HARNESS = Path(__file__).resolve().parents[1]
_RECIPE = _HARNESS.parent / "agents" / "recipe"
_SOLVE = """#!/usr/bin/env bash
# The oracle of a fine-tuning task is a sensible fixed recipe: the agent `recipe`, with dojo's API played by files (dojo_tool.py).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
DOJO_AGENT_PARAMS=$(cat "$here/params.json")
export DOJO_AGENT_PARAMS
cd /workspace
exec python "$here/recipe.py"
"""
_UNDER_HARBOR = """
## Under Harbor

There is no `dojo-tool` here and nothing is scored before the end: put the adapter or full weights into `/workspace/submission`.
The verifier scores what lies there when the time is up.
"""
_NOISE = shutil.ignore_patterns("__pycache__", "*.pyc", "admission")


def export_harbor(prepared: PreparedTask, base_model: BaseModel, target: Path) -> Path:
    """Write a Harbor task into the new folder ``target``: ``harbor run -p target`` needs nothing else of ours.

    The agent's side (``environment/``) gets the training data and the base model; the verifier's (``tests/``) the hidden items,
    the grader and the base model. Data preparation stays out: it could rebuild the hidden items. The oracle (``solution/``) is
    the agent `recipe` with all it needs.

    Raises:
        MissingError: the agent `recipe` is not beside this package.
        UsageError: ``target`` is there already.
    """
    if target.exists():
        raise UsageError(f"{target} is there already", hint="name a folder that does not exist yet")
    with build_folder(target) as part:
        assert part is not None
        for name in ("task.toml", "README.md"):
            if (prepared.task.path / name).is_file():
                shutil.copyfile(prepared.task.path / name, part / name)
        for name in ("environment", "tests", "solution"):
            shutil.copytree(prepared.task.path / name, part / name, ignore=_NOISE)
        profile = next(spec for name, spec in prepared.task.dojo.profiles.items() if name == prepared.profile)
        goal = prepared.instruction(base_model.name, profile.budget, profile.limits, profile.generation)
        (part / "instruction.md").write_text(goal + _UNDER_HARBOR, encoding="utf-8")
        _oracle(prepared, profile, part / "solution")
        _agent_side(prepared, base_model, part / "environment")
        _verifier_side(prepared, base_model, part / "tests")
        (part / "tests" / "generation.json").write_text(profile.generation.model_dump_json(), encoding="utf-8")
    for script in (*target.glob("tests/*.sh"), *target.glob("solution/*.sh")):
        script.chmod(0o755)
    return target


def _agent_side(prepared: PreparedTask, base_model: BaseModel, folder: Path) -> None:
    shutil.copytree(prepared.dir / "sources", folder / "data" / "sources")
    for path in (prepared.dir / "card.md", prepared.few_shot_path):
        shutil.copyfile(path, folder / "data" / path.name)
    shutil.copytree(base_model.path, folder / "model")


def _verifier_side(prepared: PreparedTask, base_model: BaseModel, folder: Path) -> None:
    for path in (prepared.hidden_path, prepared.few_shot_path):
        shutil.copyfile(path, folder / path.name)
    shutil.copytree(base_model.path, folder / "model")
    for name in ("spec", "assets", "grading"):
        shutil.copytree(_HARNESS / name, folder / "harness" / name, ignore=_NOISE)
    shutil.copyfile(_HARNESS / "__init__.py", folder / "harness" / "__init__.py")


def _oracle(prepared: PreparedTask, profile: ProfileSpec, folder: Path) -> None:
    if not _RECIPE.is_dir():
        raise MissingError(f"{_RECIPE} is not there, and it is every task's oracle", hint="run dojo from a checkout")
    for program in _RECIPE.glob("*.py"):
        shutil.copyfile(program, folder / program.name)
    shutil.copyfile(_HARNESS / "interop" / "harbor_tool.py", folder / "dojo_tool.py")
    (folder / "solve.sh").write_text(_SOLVE, encoding="utf-8")
    params = tomllib.loads((_RECIPE / "agent.toml").read_text(encoding="utf-8"))["params"]
    (folder / "params.json").write_text(json.dumps(params), encoding="utf-8")
    dojo = prepared.task.dojo
    examples = [json.loads(line) for line in prepared.few_shot_path.read_text(encoding="utf-8").splitlines()]
    task = {
        "answer_format": dojo.answer_format,
        "base_model": {"path": "/models/base"},
        "data": {"path": "/data", "sources": [{"path": f"/data/sources/{source.path.name}"} for source in prepared.sources]},
        "examples": [{"prompt": example["prompt"], "answer": example["answer"]} for example in examples],
        "subsets": [subset.model_dump() for subset in dojo.subsets],
        "max_train_samples": dojo.max_train_samples,
    }
    (folder / "task.json").write_text(json.dumps({"task": task, "wall_s": profile.budget.wall}), encoding="utf-8")
