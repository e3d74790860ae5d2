"""One of many that cannot be used: a task, an agent, a backbone. It is listed with its fault and harms nothing beside it."""

from __future__ import annotations

from pathlib import Path

from harness.spec.base import Spec
from harness.spec.errors import SpecError


class Broken(Spec):
    """What cannot be used, where it stands, and why."""

    name: str
    path: Path
    code: str = "spec"
    message: str
    hint: str

    @property
    def error(self) -> SpecError:
        """The error for who names it."""
        return SpecError(self.message, hint=self.hint, code=self.code)
