"""The small task that hostile agents play in: its folder, and its data without a model."""

from __future__ import annotations

from pathlib import Path

TASKS = Path(__file__).parent / "tasks"
"""A directory of tasks, for `Dojo`."""

TASK_ID = "attack/parity"
TASK_FOLDER = TASKS / "attack" / "parity"
EVALUATIONS = 3
"""Evaluations that the task allows (`task.toml`)."""
