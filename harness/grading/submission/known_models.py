"""Is a submission another known model, whole or mixed with the base? Looked at by where it lies from the base, not by its digest.

What was trained from the base moves in a direction of its own. What was taken from a sibling of the base (its instruct version,
another fine-tune) moves along the line from the base to that sibling, however it is scaled, mixed, rounded or made an adapter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.grading.submission.adapter import LoraModule, check_config, read_modules
from harness.grading.submission.base_files import BaseFiles
from harness.grading.submission.full_weights import own_tensors, weights_files
from harness.grading.submission.weights_file import Tensor, WeightsError, read_header

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = Callable[[str, NDArray[np.int64]], "NDArray[np.float64] | None"]

# Cosine between (submission − base) and (sibling − base) from which on a submission is the sibling. Independent directions of
# 100,000 numbers and more have cosines below 0.02; a mixture with any share of a sibling, and nothing trained on it, has 1.
LIMIT = 0.8
# So many rows of each matrix are looked at: enough numbers for the cosine, and weights of 15 GB are not read whole.
_ROWS = 8
# A sibling that lies no further from the base than rounding does is the base under another name.
_SAME = 1e-3
# A submission that moved less than this, relative to its weights, is the base model, whatever it resembles.
_STILL = 1e-6


@dataclass(frozen=True)
class Resemblance:
    """A known model that a submission lies on the way to: its name, the cosine, and how far on the way (1: it is that model)."""

    name: str
    cosine: float
    share: float

    def __str__(self) -> str:
        return f"the weights lie on the line from the base to {self.name} (cosine {self.cosine:.2f}, {self.share:.0%} of the way)"


def resembles(directory: Path, base: BaseFiles, others: Mapping[str, BaseFiles]) -> Resemblance | None:
    """Return the known model that a submission resembles most, beyond `LIMIT`; None where it resembles none, or is no submission.

    Args:
        directory: the submission; its files are read as hostile ones.
        base: the base model it should be a fine-tune of.
        others: name → a known model; those of other shapes are passed over.
    """
    try:
        moved = _moves_of(directory, base)
    except (WeightsError, OSError, ValueError):
        return None  # what cannot be read is refused by the grader, with the reason
    found = [_compare(moved, base, name, other) for name, other in others.items()] if moved else []
    return max((one for one in found if one and one.cosine >= LIMIT), key=lambda one: one.cosine, default=None)


def _moves_of(directory: Path, base: BaseFiles) -> Rows | None:
    """Return what gives rows of (submission − base) by the matrix's name; None where nothing was changed."""
    import numpy as np

    if (directory / "adapter_config.json").is_file():
        config = json.loads((directory / "adapter_config.json").read_bytes())
        if check_config(config):
            return None
        adapter, _ = read_modules(config, read_header(directory / "adapter_model.safetensors"), base, [])
        if adapter is None:
            return None
        modules: dict[str, LoraModule] = {module.target: module for module in adapter.modules}
        whole = _apart(adapter.whole, base)

        def lora(name: str, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
            module = modules.get(name)
            if module is None:
                return whole(name, rows)
            return module.scale * (_rows(module.b, rows) @ _rows(module.a, np.arange(module.a.shape[0])))

        return lora
    tensors, _ = own_tensors(weights_files(directory)[0], base, [])
    return _apart(tensors, base) if tensors else None


def _apart(tensors: Mapping[str, Tensor], base: BaseFiles) -> Rows:
    """Return what gives rows of (tensor − the base's) by name."""

    def rows_of(name: str, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        theirs, ours = tensors.get(name), base.tensors[name]
        return None if theirs is None or theirs.shape != ours.shape else _rows(theirs, rows) - _rows(ours, rows)

    return rows_of


def _compare(moved: Rows, base: BaseFiles, name: str, other: BaseFiles) -> Resemblance | None:
    import numpy as np

    product = own = theirs = size = 0.0
    for ours in _matrices(base.tensors.values()):
        sibling = other.tensors.get(ours.name)
        if sibling is None or sibling.shape != ours.shape:
            continue
        rows = np.unique(np.linspace(0, ours.shape[0] - 1, min(_ROWS, ours.shape[0])).astype(np.int64))
        change = moved(ours.name, rows)
        if change is None:
            continue
        there = _rows(ours, rows)
        way = _rows(sibling, rows) - there
        product += float((change * way).sum())
        own += float((change * change).sum())
        theirs += float((way * way).sum())
        size += float((there * there).sum())
    if not size or not math.isfinite(product) or theirs < _SAME**2 * size or own < _STILL**2 * size:
        return None
    return Resemblance(name, product / math.sqrt(own * theirs), product / theirs)


def _matrices(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [tensor for tensor in tensors if len(tensor.shape) == 2 and tensor.elements]


def _rows(tensor: Tensor, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return rows of a matrix; no more of the file is read."""
    import numpy as np

    raw = np.ascontiguousarray(tensor.raw().reshape(tensor.shape)[rows])
    if tensor.dtype == "BF16":
        return (raw.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return raw.view(np.float16 if tensor.dtype == "F16" else np.float32).astype(np.float64)
