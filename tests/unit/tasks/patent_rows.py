"""Small rows in PANORAMA's layout for the tests of the patent tasks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.assets.grader import TaskGrader, load_grader
from harness.assets.task_dir import Task, find_task

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


def application(number: int, words: str) -> dict[str, Any]:
    """The head of a row: two claims, the second is asked about."""
    claims = [f"1. A device {number}.", f"2. The device of claim 1, {words}, number {number}, in which nothing moves."]
    context = {"title": f"Device {number}", "abstract": f"About device {number}.", "claims": claims}
    return {"application_number": 15_000_000 + number, "claim_number": 2, "context": context}


def write_panorama(mirror: Path, folder: str, tests: list[dict[str, Any]], training: list[dict[str, Any]]) -> None:
    """Write both files as parquet, as the hub has them."""
    import pandas

    target = mirror / "datasets" / "LG-AI-Research" / "PANORAMA" / folder
    target.mkdir(parents=True)
    for name, rows in (("test", tests), ("train", training)):
        pandas.DataFrame(rows).to_parquet(target / f"{name}.parquet")
