"""A task as a self-contained Harbor task: data, base model and grader put where Harbor's Dockerfiles look."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from harness.assets.agent_dir import copy_agent, load_agent
from harness.assets.base_models import BaseModel
from harness.assets.grader_side import grader_code, task_code
from harness.assets.harbor_files import harbor_files
from harness.assets.prepare import PreparedTask
from harness.files import build_folder
from harness.project import PACKAGE, bundled
from harness.spec.budget import Budget
from harness.spec.errors import MissingError, UsageError
from harness.spec.task import ProfileSpec

_RECIPE = bundled("agents") / "recipe"
_UNDER_HARBOR = """
## Under Harbor

There is no `dojo-tool` here and nothing is scored before the end: put the adapter or full weights into `/workspace/submission`.
The verifier scores what lies there when the time is up.
"""
# What Harbor's agent may take to start, in seconds.
_START_S = 120.0
_IMAGE_MB = 4096
_NOISE = shutil.ignore_patterns("__pycache__", "*.pyc")


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
    with build_folder(target, mode=0o700) as part:  # the hidden items lie in it
        assert part is not None
        if (prepared.task.path / "README.md").is_file():
            shutil.copyfile(prepared.task.path / "README.md", part / "README.md")
        for name, text in harbor_files(prepared.task.dojo.metric.name).items():
            (part / name).parent.mkdir(exist_ok=True)
            (part / name).write_text(text, encoding="utf-8")
        profile = next(spec for name, spec in prepared.task.dojo.profiles.items() if name == prepared.profile)
        config = (prepared.task.path / "task.toml").read_text(encoding="utf-8-sig")  # Harbor takes no byte order mark
        (part / "task.toml").write_text(with_limits(config, profile), encoding="utf-8")
        goal = prepared.instruction(base_model.name, _harbor_budget(profile), profile.limits, profile.generation)
        (part / "instruction.md").write_text(goal + _UNDER_HARBOR, encoding="utf-8")
        _oracle(prepared, profile, part / "solution")
        _agent_side(prepared, base_model, part / "environment")
        _verifier_side(prepared, base_model, part / "tests")
        (part / "tests" / "generation.json").write_text(profile.generation.model_dump_json(), encoding="utf-8")
    for script in (*target.glob("tests/*.sh"), *target.glob("solution/*.sh")):
        script.chmod(0o755)
    return target


def with_limits(config: str, profile: ProfileSpec) -> str:
    """Put a profile's budget and limits into the text of a ``task.toml``, where Harbor looks for them; the rest stays."""
    limits = profile.limits
    machine = {"cpus": f"{limits.cpus:g}", "memory_mb": str(limits.memory_mb)}
    if limits.gpus:
        machine["gpus"] = str(limits.gpus)
    tables = {
        "agent": {"timeout_sec": f"{_harbor_budget(profile).wall + _START_S:.1f}"},
        "verifier.environment": machine,
        # Harbor counts the image, with the model in it, as the environment's storage
        "environment": machine | ({"storage_mb": str(limits.disk_mb + _IMAGE_MB)} if limits.disk_mb else {}),
    }
    for table, values in tables.items():
        head, mark, rest = config.partition(f"[{table}]\n")
        body, end, after = rest.partition("\n[")
        lines = [line for line in body.rstrip("\n").split("\n") if mark and line.split("=")[0].strip() not in values]
        lines += [f"{key} = {value}" for key, value in values.items()]
        separator = "" if mark else ("\n" if head.endswith("\n") else "\n\n")
        config = f"{head}{separator}[{table}]\n" + "\n".join(lines) + ("\n\n[" + after if end else "\n")
    return config


def _harbor_budget(profile: ProfileSpec) -> Budget:
    """Return the budget in the one dimension of time that Harbor has: wall time, as a quiet machine would need it."""
    return profile.budget.model_copy(update={"wall": profile.budget.at_full_speed(profile.limits.cpus), "cpu": None})


def _agent_side(prepared: PreparedTask, base_model: BaseModel, folder: Path) -> None:
    shutil.copytree(prepared.dir / "sources", folder / "data" / "sources")
    for path in (prepared.dir / "card.md", prepared.few_shot_path):
        shutil.copyfile(path, folder / "data" / path.name)
    shutil.copytree(base_model.path, folder / "model")


def _verifier_side(prepared: PreparedTask, base_model: BaseModel, folder: Path) -> None:
    for path in (prepared.hidden_path, prepared.few_shot_path):
        shutil.copyfile(path, folder / path.name)
    shutil.copytree(base_model.path, folder / "model")
    for source, place in grader_code():
        _copy(source, folder / place)
    for source, place in task_code(prepared.task.path):
        _copy(source, folder / "domain" / place)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=_NOISE)
    else:
        shutil.copyfile(source, target)


def _oracle(prepared: PreparedTask, profile: ProfileSpec, folder: Path) -> None:
    if not _RECIPE.is_dir():
        raise MissingError(f"{_RECIPE} is not there, and it is every task's oracle", hint="install dojo again")
    recipe = load_agent(_RECIPE)
    copy_agent(recipe, folder)
    shutil.copyfile(PACKAGE / "interop" / "harbor_tool.py", folder / "dojo_tool.py")
    (folder / "params.json").write_text(json.dumps(recipe.config.params), encoding="utf-8")
    dojo = prepared.task.dojo
    examples = [json.loads(line) for line in prepared.few_shot_path.read_text(encoding="utf-8").splitlines()]
    task = {
        "answer_format": dojo.answer_format,
        "base_model": {"path": "/models/base"},
        "data": {"path": "/data", "sources": [{"path": f"/data/sources/{source.path.name}"} for source in prepared.sources]},
        "examples": [{"prompt": example["prompt"], "answer": example["answer"]} for example in examples],
        "subsets": [subset.model_dump() for subset in dojo.subsets],
        "max_train_samples": dojo.max_train_samples,
        "limits": profile.limits.model_dump(mode="json"),
    }
    facts = {"task": task, "wall_s": _harbor_budget(profile).wall}
    (folder / "task.json").write_text(json.dumps(facts), encoding="utf-8")
