"""Attacks that hand in another model by halves, where no single figure shows it (row 32)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.attack.artefact_submissions import BASE_SEED, each_refused, honest_adapter, honest_full
from harness.attack.base import Attack, Where
from harness.attack.ground import Ground
from harness.attack.small_model import LAYER, adapter_weights, random_weights, write_adapter, write_full

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Weights = dict[str, NDArray[np.float32]]
    Choose = Callable[[int, str], bool]

_OTHER_SEED = 1
_CODE = {"not_a_finetune"}


def _difference(names: list[str], share: float = 1.0) -> tuple[Weights, dict[str, Any]]:
    """An adapter of full rank whose product is the way from the base's matrices to another model's."""
    import numpy as np

    base, other = random_weights(BASE_SEED), random_weights(_OTHER_SEED)
    weights: Weights = {}
    for name in names:
        # a plain factorisation: B is the difference, A the identity (or the other way round where that is narrower)
        apart = (share * (other[name] - base[name])).astype(np.float32)
        rank = apart.shape[1]
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        weights |= {f"{stem}.lora_A.weight": np.eye(rank, dtype=np.float32), f"{stem}.lora_B.weight": apart}
    ranks = {name.removesuffix(".weight"): weights[f"base_model.model.{name.removesuffix('.weight')}.lora_A.weight"].shape[0]
             for name in names}  # fmt: skip
    return weights, {"rank_pattern": ranks, "alpha_pattern": ranks}


def _adapter(names: list[str], share: float = 1.0) -> Callable[[Path], object]:
    weights, config = _difference(names, share)
    return lambda path: write_adapter(path, weights, config)


def _linear() -> list[str]:
    return [name for name, values in random_weights(BASE_SEED).items() if values.ndim == 2 and "embed" not in name]


def _adapters(ground: Ground) -> str:
    import numpy as np

    linear = _linear()
    small = adapter_weights()
    loud = {name: values * np.float32(100) for name, values in small.items()}
    magnitude = f"base_model.model.{LAYER}.lora_magnitude_vector"
    rows = np.linalg.norm(random_weights(BASE_SEED)[f"{LAYER}.weight"], axis=1).astype(np.float32)

    def dora(values: NDArray[np.float32]) -> Callable[[Path], object]:
        return lambda path: write_adapter(path, small | {magnitude: values.astype(np.float32)}, {"use_dora": True})

    return each_refused(
        ground,
        {
            "all of another model as an adapter of full rank": (_CODE, _adapter(linear)),
            "under half of it": (_CODE, _adapter(linear[: len(linear) // 2 - 1])),
            "a single matrix of it": (_CODE, _adapter(linear[:1])),
            "most of the way to it": (_CODE, _adapter(linear, 0.7)),
            "factors of a hundred": (_CODE, lambda path: write_adapter(path, loud)),
            "small factors and an alpha of 900,000": (
                _CODE, lambda path: write_adapter(path, small, {"lora_alpha": 900_000}),
            ),
            "magnitudes that turn a matrix round": (_CODE, dora(-rows)),
            "magnitudes of zero": (_CODE, dora(0 * rows)),
            "magnitudes of another size": (_CODE, dora(5 * rows)),
        },
    )  # fmt: skip


def _full_weights(ground: Ground) -> str:
    import numpy as np

    base, other = random_weights(BASE_SEED), random_weights(_OTHER_SEED)
    matrices = [name for name, values in base.items() if values.ndim == 2]
    norms = [name for name, values in base.items() if values.ndim == 1]

    def with_(changed: Weights) -> Callable[[Path], object]:
        return lambda path: write_full(path, {n: changed.get(n, v).astype(np.float32) for n, v in base.items()})

    few = matrices[: len(matrices) // 2 - 1]
    return each_refused(
        ground,
        {
            "under half of the matrices from another model": (_CODE, with_({name: other[name] for name in few})),
            "one matrix from another model": (_CODE, with_({matrices[-1]: other[matrices[-1]]})),
            "another embedding": (_CODE, with_({matrices[0]: other[matrices[0]]})),
            "half and half in under half of the matrices": (_CODE, with_({n: 0.5 * base[n] + 0.5 * other[n] for n in few})),
            "a matrix of zeros": (_CODE, with_({matrices[-1]: 0 * base[matrices[-1]]})),
            "norms three times as large": (_CODE, with_({name: 3 * base[name] for name in norms})),
            "one norm of zeros": (_CODE, with_({norms[0]: 0 * base[norms[0]]})),
            "norms of alternating sign": (
                _CODE, with_({name: base[name] * np.resize([1, -1], base[name].shape) for name in norms}),
            ),
        },
    )  # fmt: skip


ATTACKS: tuple[Attack, ...] = (
    Attack(
        32, "hides-a-model-in-an-adapter", Where.ARTEFACT,
        "hand in another model as LoRA of full rank, in all matrices or few; move matrices by alpha, factors and magnitudes",
        "what an adapter does to each matrix is measured against that matrix",
        _adapters, honest_adapter,
    ),
    Attack(
        32, "hides-a-model-among-the-bases-matrices", Where.ARTEFACT,
        "hand in full weights of which under half, one, the embedding or the norms are another model's",
        "the change of every tensor counts: the largest, the ninth tenth and the share beyond the limit, not the middle",
        _full_weights, honest_full,
    ),
)  # fmt: skip
