"""Holding a trajectory against ATIF's own models."""

from __future__ import annotations

from pathlib import Path

from harness.extras import missing
from harness.spec.errors import SpecError
from harness.spec.toml import describe


def check_trajectory(path: Path) -> int:
    """Validate a trajectory file and return its number of steps.

    Raises:
        SpecError: it is no ATIF trajectory; names the first fields that are wrong.
        MissingError: ATIF's models are not installed.
    """
    try:
        from atif import Trajectory
    except ImportError as exc:
        raise missing("atif") from exc
    from pydantic import ValidationError

    try:
        return len(Trajectory.model_validate_json(path.read_bytes()).steps)
    except ValidationError as exc:
        raise SpecError(
            f"{path} is no ATIF trajectory: {describe(exc)}", hint="`dojo export RUN atif` writes it anew from the run's events"
        ) from exc
