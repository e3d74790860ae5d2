"""A shape of folder that people hand in: how it comes about, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.unit.grading.shapes.bench import Bench

# Writes a folder; returns the logits of the model as it was trained, or None where a library's own loading tells them.
Make = Callable[[Bench, Path], Any]


@dataclass(frozen=True)
class Shape:
    """One row of docs/submissions.md.

    Attributes:
        name: what it is, as the page says it.
        make: writes it; returns logits to compare with, or None: PEFT or transformers reads the folder itself.
        tied: which base model it is a fine-tune of.
        code: of the problem it is refused for; empty: it is taken.
        remedy: carries out what the refusal advises, in place or with the folder it returns; what is left must be taken.
        said: words that the report must hold.
    """

    name: str
    make: Make
    tied: bool = False
    code: str = ""
    remedy: Callable[[Bench, Path], Path | None] | None = None
    said: tuple[str, ...] = ()
