"""How far a submission moves the base model: fine-tunes stay near in every tensor, other models do not.

Full weights and adapters are measured alike, by what they make of each tensor: |W' − W₀| / |W₀| (Frobenius norms). All of it
stands in the report, and with it in the run's result.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.grading.submission.adapter import Adapter, LoraModule
from harness.grading.submission.base_files import BaseFiles
from harness.grading.submission.weights_file import CHUNK, Tensor
from harness.spec.submission import Problem, Provenance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Independent weights in a matrix's place lie at 1 or beyond, whatever their size: |W' − W₀|² = |W'|² + |W₀|². A half-and-half
# mixture with another model lies at 0.707. Limits are of changed matrices (embeddings and heads among them): of the largest, of
# the value that nine tenths stay below, and of the share beyond `BEYOND`; benchmarks/honest.py counts their false alarms. On the
# 135M model, full fine-tuning at rates 2e-5, 1e-4, 1e-3 moves the median by 0.001, 0.004, 0.034; LoRA of rank 64 at 1e-3 by 0.013
# in 20 steps, its largest by 0.047; a ruinous 1e-2 (loss 12) by 0.21.
LARGEST, HIGH, BEYOND, SHARE = 0.9, 0.6, 0.5, 0.25
# Norms and biases: 20 steps at a high rate of 5e-4 moved one by 0.08 at most, in the same model cut to four layers.
VECTOR_LARGEST = 0.5
# A bias that is all zeros in the base is measured against this root mean square instead.
_SMALLEST_VECTOR = 0.02
_HIGH_QUANTILE = 0.9


@dataclass(frozen=True)
class Change:
    """What becomes of one tensor: its relative distance to the base's; infinite where that is zero, or where it overflows."""

    name: str
    vector: bool
    ratio: float


def full_changes(tensors: Mapping[str, Tensor], base: BaseFiles) -> list[Change]:
    """Measure full weights; both have the same names and shapes and finite values."""
    import numpy as np

    changes = []
    for name, theirs in tensors.items():
        apart = 0.0
        for one, other in zip(theirs.chunks(), base.tensors[name].chunks(), strict=True):
            difference = one.astype(np.float64) - other
            apart += float(np.dot(difference, difference))
        changes.append(_change(name, theirs, apart, base.size(name)))
    return changes


def adapter_changes(adapter: Adapter, base: BaseFiles) -> list[Change]:
    """Measure what a checked adapter with finite values makes of the matrices it names, and those that it brings whole."""
    merged = [
        _change(module.target, base.tensors[module.target], _moved(module, base.tensors[module.target]), base.size(module.target))
        for module in adapter.modules
    ]
    return merged + full_changes(adapter.whole, base)


def _moved(module: LoraModule, weight: Tensor) -> float:
    """Return |W' − W₀|²."""
    import numpy as np

    a = _matrix(module.a)
    if module.magnitude is None:
        b = _matrix(module.b)
        # |B·A|² = ⟨BᵀB, AAᵀ⟩: the product itself, as large as the weights, is never made
        return module.scale**2 * float(np.sum((b.T @ b) * (a @ a.T)))
    apart = 0.0
    b, magnitude = _matrix(module.b), _wide(np.concatenate(list(module.magnitude.chunks())))
    for start, rows in _rows(weight):
        merged = rows + module.scale * (b[start : start + len(rows)] @ a)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            merged *= (magnitude[start : start + len(rows)] / np.linalg.norm(merged, axis=1))[:, None]
        apart += float(np.sum((merged - rows) ** 2))
    return apart


def _wide(values: NDArray[np.float32]) -> NDArray[np.float64]:
    import numpy as np

    return values.astype(np.float64)


def _matrix(tensor: Tensor) -> NDArray[np.float64]:
    return _wide(tensor.as_float32(tensor.raw())).reshape(tensor.shape)


def _rows(tensor: Tensor) -> Iterable[tuple[int, NDArray[np.float64]]]:
    """Yield (first row, some rows) of a matrix."""
    raw, width = tensor.raw(), tensor.shape[1]
    step = max(1, CHUNK // width)
    for start in range(0, tensor.shape[0], step):
        part = raw[start * width : (start + step) * width]
        yield start, _wide(tensor.as_float32(part)).reshape(-1, width)


def _change(name: str, tensor: Tensor, apart: float, size: float) -> Change:
    vector = len(tensor.shape) < 2
    if vector:
        size = max(size, _SMALLEST_VECTOR**2 * tensor.elements)
    ratio = math.sqrt(apart / size) if size and apart >= 0 else (0.0 if apart == 0.0 else math.inf)
    return Change(name, vector, ratio if math.isfinite(ratio) else math.inf)


def provenance_of(changes: Iterable[Change]) -> Provenance:
    """Put the figures together that decide, over the tensors that changed."""
    changed = [change for change in changes if change.ratio > 0]
    matrices = sorted((c for c in changed if not c.vector), key=lambda c: c.ratio)
    vectors = sorted((c for c in changed if c.vector), key=lambda c: c.ratio)
    ratios = [_finite(c.ratio) for c in matrices]
    beyond = sum(ratio > BEYOND for ratio in ratios)
    return Provenance(
        matrices=len(matrices),
        median=statistics.median(ratios) if ratios else 0.0,
        high=ratios[math.ceil(_HIGH_QUANTILE * len(ratios)) - 1] if ratios else 0.0,
        largest=ratios[-1] if ratios else 0.0,
        largest_name=matrices[-1].name if matrices else "",
        beyond=beyond,
        vectors=len(vectors),
        vector_largest=_finite(vectors[-1].ratio) if vectors else 0.0,
        vector_largest_name=vectors[-1].name if vectors else "",
    )


def _finite(ratio: float) -> float:
    return min(ratio, 1e12)


def provenance_problem(found: Provenance) -> Problem | None:
    """Refuse what is beyond any fine-tuning, naming the figure that says so."""
    rules: tuple[tuple[bool, Callable[[], str]], ...] = (
        (found.largest > LARGEST, lambda: f"{found.largest_name} moved by {found.largest:.2f} of its norm (at most {LARGEST})"),
        (found.high > HIGH, lambda: f"a tenth of the changed matrices moved by {found.high:.2f} of their norm (at most {HIGH})"),
        (
            found.matrices > 0 and found.beyond > max(1.0, SHARE * found.matrices),
            lambda: f"{found.beyond} of {found.matrices} matrices moved by over {BEYOND} of their norm (at most {SHARE:.0%})",
        ),
        (
            found.vector_largest > VECTOR_LARGEST,
            lambda: f"{found.vector_largest_name} moved by {found.vector_largest:.2f} of its norm (at most {VECTOR_LARGEST})",
        ),
    )  # fmt: skip
    for broken, say in rules:
        if broken:
            hint = "train the given base model: lower the learning rate or the adapter's scale; other models are not accepted"
            return Problem(code="not_a_finetune", message=f"this is no fine-tune of the base model: {say()}", hint=hint)
    return None


def note(found: Provenance) -> str:
    """Say it in one line."""
    if not found.matrices and not found.vectors:
        return "distance to the base model: none, the weights are the base model's"
    text = (
        f"distance to the base model, relative to its weights: median {found.median:.3g}, nine tenths below {found.high:.3g}, "
        f"largest {found.largest:.3g} ({found.largest_name})"
    )
    more = f"; norms and biases up to {found.vector_largest:.3g} ({found.vector_largest_name})" if found.vectors else ""
    return text + more
