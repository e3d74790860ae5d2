"""How far full weights lie from the base model's: fine-tunes stay near, other models do not.

Room for more evidence (distances to known siblings, see docs/security) is `Distance`: add a field and a rule beside it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from harness.grading.submission.weights_file import Tensor
from harness.spec.submission import Problem

# Relative distance |W − W₀| / |W₀| of the median weight matrix above which weights are no fine-tune of the base. Measured on the
# 135M model: full fine-tuning at learning rates 2e-5, 1e-4, 1e-3 0.001, 0.004, 0.034; a LoRA at 1e-3 0.009, at a ruinous 1e-2
# (loss 12) 0.21; noise of half the weights' size 0.50; a fresh initialisation 1.01; independent weights of the same distribution
# 1.41. Independent weights can never come below 1, so 0.7 leaves room on both sides; a half-and-half mixture lies at 0.707.
LIMIT = 0.7


@dataclass(frozen=True)
class Distance:
    """Relative Frobenius distances to the base over its weight matrices (tensors of two or more dimensions)."""

    median: float
    largest: float
    largest_name: str
    identical: bool

    def note(self) -> str:
        """Say it in one line."""
        if self.identical:
            return "distance to the base model: none, the weights are the base model's"
        return (
            f"distance to the base model, relative to its weights: median {self.median:.3g}, "
            f"largest {self.largest:.3g} ({self.largest_name})"
        )


def measure_distance(tensors: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> Distance:
    """Measure how far ``tensors`` lie from ``base``; both have the same names and shapes and finite values."""
    import numpy as np

    ratios: dict[str, float] = {}
    identical = True
    for name, theirs in tensors.items():
        apart = size = 0.0
        for one, other in zip(theirs.chunks(), base[name].chunks(), strict=True):
            difference = one.astype(np.float64) - other
            apart += float(np.dot(difference, difference))
            wide = other.astype(np.float64)
            size += float(np.dot(wide, wide))
        identical = identical and apart == 0.0
        if len(theirs.shape) >= 2:
            ratios[name] = math.sqrt(apart / size) if size else (0.0 if apart == 0.0 else math.inf)
    largest_name = max(ratios, key=lambda n: ratios[n], default="")
    return Distance(
        median=statistics.median(ratios.values()) if ratios else 0.0,
        largest=ratios.get(largest_name, 0.0),
        largest_name=largest_name,
        identical=identical,
    )


def distance_problem(distance: Distance) -> Problem | None:
    """Refuse what is far beyond any fine-tuning."""
    if distance.median <= LIMIT:
        return None
    text = (
        f"the weights are no fine-tune of the base model: half of its matrices moved by over {distance.median:.2f} of their norm"
    )
    return Problem(code="not_a_finetune", message=text, hint="train the given base model; other models are not accepted")
