"""What is put beside hostile weights, and where: in a grader's sandbox, and on the verifier's side of an exported task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import harness
from harness.taskkit.scoring.loading import SHARED

# The harness's own name and version, and whole folders; nothing else of it can be read there.
_CODE = ("__init__.py", "spec", "taskkit/scoring", "grading/worker", "grading/submission")


def grader_code() -> Iterator[tuple[Path, str]]:
    """Yield the harness's part: where it lies here, and where below the folder that is on the path there."""
    root = Path(harness.__file__).parent
    for part in _CODE:
        yield root / part, f"{root.name}/{part}"


def task_code(task_dir: Path) -> Iterator[tuple[Path, str]]:
    """Yield the task's part, never what makes its data: where it lies here, and where in a domain's folder there."""
    yield task_dir / "tests", "task/tests"
    shared = task_dir.parent / SHARED
    if shared.is_dir():
        yield shared, SHARED
