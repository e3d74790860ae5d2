"""What tests of several tasks need: a task, its grader, lines of prepared data, a score."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.assets.task_dir import Task, find_task
from harness.taskkit.scoring.contract import TaskGrader, load_grader

TASKS = Path(__file__).resolve().parents[3] / "tasks"


def task(name: str) -> Task:
    return find_task(name, [TASKS])


def grader(name: str) -> TaskGrader:
    return load_grader(TASKS / name)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def primary(of: TaskGrader, items: list[dict[str, Any]], respond: Callable[[dict[str, Any]], str]) -> float:
    triples = [(i["row"], i["subset"], of.score(i["row"], respond(i), i["subset"])) for i in items]
    return of.aggregate(triples, "primary").primary.value
