"""The rooms of the house: what tasks, and what lies beside hostile weights, may import."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from harness.assets.grader_side import grader_code

ROOT = Path(harness.__file__).parents[1]
_RIGHT = ("harness.spec", "harness.files")
ALLOWED = {
    "harness/taskkit": (*_RIGHT, "harness.wheels", "harness.extras", "harness.taskkit"),
    "harness/taskkit/scoring": (*_RIGHT, "harness.taskkit.scoring"),
    "harness/grading/submission": (*_RIGHT, "harness.taskkit.scoring", "harness.grading.submission"),
    "harness/grading/worker": (*_RIGHT, "harness.taskkit.scoring", "harness.grading.submission", "harness.grading.worker"),
    "tasks": ("harness.spec", "harness.taskkit"),
}


LOOK_AROUND = """
import importlib, pkgutil, sys
# a checkout that is installed for editing is not there in a sandbox
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
import harness, harness.grading.submission, harness.grading.worker
for room in (harness.grading.worker, harness.grading.submission):
    for module in pkgutil.iter_modules(room.__path__, room.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
print(harness.__file__)
for name in ("harness.assets", "harness.store", "harness.grading.evaluator", "harness.taskkit.building"):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        print("none of", name)
"""


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_room_imports_only_what_it_may(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert len(files) > 5
    wrong = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        for name in imported(file)
        if name.partition(".")[0] == "harness" and not any(f"{name}.".startswith(f"{a}.") for a in ALLOWED[folder])
    ]
    assert wrong == []


@pytest.mark.parametrize("grader", sorted(ROOT.glob("tasks/*/*/tests/grader.py")), ids=lambda p: "/".join(p.parts[-4:-2]))
def test_graders_import_nothing_that_makes_data(grader: Path) -> None:
    assert not [name for name in imported(grader) if name.startswith("harness.taskkit.building")]


def test_what_is_mounted_beside_hostile_weights_is_enough_and_nothing_else_of_the_harness_is_there(tmp_path: Path) -> None:
    for source, place in grader_code():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).symlink_to(source)
    done = subprocess.run(
        [sys.executable, "-P", "-B", "-c", LOOK_AROUND],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
    )
    first, *rest = done.stdout.splitlines() or [""]
    assert first == str(tmp_path / "harness" / "__init__.py"), done.stderr
    assert len(rest) == 4, done.stdout + done.stderr
