"""A task as a self-contained Harbor task: its directory with data, base model and grader put where its Dockerfiles look."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.assets.base_models import BaseModel
from harness.assets.prepare import PreparedTask
from harness.assets.tree import build_folder
from harness.spec.errors import UsageError

_HARNESS = Path(__file__).resolve().parents[1]
_NOISE = shutil.ignore_patterns("__pycache__", "*.pyc", "admission")


def export_harbor(prepared: PreparedTask, base_model: BaseModel, target: Path) -> Path:
    """Write a Harbor task into the new folder ``target``: ``harbor run -p target`` needs nothing else of ours.

    The agent's side (``environment/``) gets the training data and the base model; the verifier's (``tests/``) the hidden items,
    the grader and the base model. Data preparation stays out: it could rebuild the hidden items.

    Raises:
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
        (part / "instruction.md").write_text(goal, encoding="utf-8")
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
