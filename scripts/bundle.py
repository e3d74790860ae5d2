"""Puts the project's own folders into a wheel, as ``harness/bundled``; `harness/project.py` finds them there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLED = ("tasks", "agents", "images", "k8s", "docs", "constraints.txt", "pyproject.toml", "scripts/wants_cuda.py")


class Bundle(BuildHookInterface):  # type: ignore[misc, type-arg, unused-ignore]  # hatchling is there while a wheel is built
    """The hook that `pyproject.toml` names."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name every file to take along; ``version`` is ``editable`` for an install that stays with the checkout."""
        if version == "editable":
            return
        root = Path(self.root)
        for name in BUNDLED:
            path = root / name
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith("."):
                    build_data["force_include"][str(file)] = f"harness/bundled/{file.relative_to(root).as_posix()}"
