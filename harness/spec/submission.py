"""What an agent hands in, and what the check says about it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.spec.base import Spec


class SealedFile(Spec):
    """One file of a sealed submission."""

    path: str
    size: int = Field(ge=0)
    sha256: str


class Manifest(Spec):
    """Every file of a submission; ``digest`` is the SHA-256 over the sorted lines ``sha256 size path``."""

    digest: str
    files: tuple[SealedFile, ...]
    bytes: int = Field(ge=0)


class Problem(Spec):
    """One reason why a submission cannot be scored, with the remedy."""

    code: str
    message: str
    hint: str = ""


class SubmissionReport(Spec):
    """What `validate` and the grader say of a submission directory: one and the same check."""

    ok: bool
    kind: Literal["adapter", "full", "base", "unknown"]
    problems: tuple[Problem, ...] = ()
    parameters: int = Field(0, ge=0, description="parameters in the handed-in tensors")
    notes: tuple[str, ...] = Field((), description="differences that are ignored, such as a changed chat template")
