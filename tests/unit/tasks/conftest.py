from __future__ import annotations

from pathlib import Path

import pytest

from harness.assets.task_dir import Task, find_task
from harness.taskkit.scoring.contract import TaskGrader, load_grader

TASKS = Path(__file__).resolve().parents[3] / "tasks"


@pytest.fixture(scope="session")
def aime25() -> Task:
    return find_task("math/aime25", [TASKS])


@pytest.fixture(scope="session")
def mol_und() -> Task:
    return find_task("chemistry/mol_und", [TASKS])


@pytest.fixture(scope="session")
def aime25_grader(aime25: Task) -> TaskGrader:
    return load_grader(aime25.path)


@pytest.fixture(scope="session")
def mol_und_grader(mol_und: Task) -> TaskGrader:
    return load_grader(mol_und.path)
