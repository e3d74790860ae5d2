"""Lessons that outlive a run: one JSON object a line, given in by whoever submits, written anew as the run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ft_agent.llm.calls import Lesson, Lessons
from ft_agent.llm.facts import lessons_text
from ft_agent.llm.parsing import describe

FILE = "lessons.jsonl"


def write_lessons(folder: Path, lessons: Lessons, task: Mapping[str, Any], model: str) -> None:
    """Write ``lessons.jsonl``, whole or not at all; each line names the task and the model it was learnt on."""
    lines = [
        json.dumps({**lesson.model_dump(), "task": task["id"], "profile": task["profile"], "model": model}, ensure_ascii=False)
        for lesson in lessons.lessons
    ]
    part = folder / f"{FILE}.part"
    part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    part.replace(folder / FILE)


def read_lessons(path: Path) -> str:
    """Return the lessons of a file as planners are told them.

    Raises:
        ValueError: it cannot be read, or a line holds no lesson; names file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ValueError(f"{path}: {exc}; give a {FILE} that a run has written") from exc
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(Lesson.model_validate(json.loads(line)))
        except ValidationError as exc:
            raise ValueError(f"{path}, line {number}: {'; '.join(describe(exc))}") from exc
        except ValueError as exc:
            raise ValueError(f"{path}, line {number}: no JSON: {exc}") from exc
    return lessons_text(Lessons.model_construct(lessons=found))
