"""Where the project's own folders are: beside this package in a checkout, inside it where a wheel is installed."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

Bundled = Literal["tasks", "agents", "images", "k8s", "docs", "constraints.txt", "pyproject.toml"]

PACKAGE = Path(str(files("harness")))
"""This package's folder; what it brings along is shown to sandboxes, so it is always a folder on disk."""


def project_root() -> Path:
    """Return the folder that holds ``tasks``, ``agents`` and the rest: the checkout, or ``harness/bundled`` of a wheel."""
    # inside first: what lies beside an installed package belongs to other packages
    inside = PACKAGE / "bundled"
    return inside if inside.is_dir() else PACKAGE.parent


def is_checkout() -> bool:
    """Whether this is a checkout, which has scripts and tests too, and not an installed wheel."""
    return project_root() == PACKAGE.parent


def bundled(name: Bundled) -> Path:
    """Return one of the project's folders or files; the caller says what is missing where a stripped copy has none."""
    return project_root() / name
