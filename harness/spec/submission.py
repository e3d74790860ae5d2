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


class Provenance(Spec):
    """How far what was handed in moves the base model: |W' − W₀| / |W₀| of the tensors that it changes."""

    matrices: int = Field(0, ge=0, description="changed matrices, embeddings and heads among them")
    median: float = Field(0.0, ge=0, description="of the changed matrices")
    high: float = Field(0.0, ge=0, description="nine tenths of the changed matrices lie at or below")
    largest: float = Field(0.0, ge=0, description="of the changed matrices")
    largest_name: str = ""
    beyond: int = Field(0, ge=0, description="changed matrices that moved by over half of their norm")
    vectors: int = Field(0, ge=0, description="changed norms and biases")
    vector_largest: float = Field(0.0, ge=0, description="of the changed norms and biases")
    vector_largest_name: str = ""


class SubmissionReport(Spec):
    """What `validate` and the grader say of a submission directory: one and the same check."""

    ok: bool
    kind: Literal["adapter", "full", "base", "unknown"]
    problems: tuple[Problem, ...] = ()
    parameters: int = Field(0, ge=0, description="parameters in the handed-in tensors")
    provenance: Provenance | None = Field(None, description="None: the base model, or refused before it was measured")
    notes: tuple[str, ...] = Field((), description="differences that are ignored, such as a changed chat template")
