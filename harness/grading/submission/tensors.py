"""What tensors are, compared with one another or alone: empty, not finite, the same but for rounding."""

from __future__ import annotations

from collections.abc import Iterable

from harness.grading.submission.weights_file import Tensor
from harness.spec.submission import Problem

# bfloat16 keeps eight bits of a number: what was rounded to it lies within this share of what it was.
_ROUNDED = 2.0**-8
_TINY = 1e-7


def nearly_equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape hold the same numbers, but for rounding where they were saved in another precision."""
    import numpy as np

    if one.shape != other.shape:
        return False
    pairs = zip(one.chunks(), other.chunks(), strict=True)
    if one.dtype == other.dtype:
        return all(np.array_equal(a, b) for a, b in pairs)
    with np.errstate(invalid="ignore", over="ignore"):
        return all(bool((np.abs(a - b) <= _ROUNDED * np.abs(b) + _TINY).all()) for a, b in pairs)


def empty_problem(tensors: Iterable[Tensor]) -> Problem | None:
    """Say that weights are missing where tensors hold nothing: shards that nobody put together before saving."""
    empty = [tensor.name for tensor in tensors if tensor.elements == 0]
    if not empty:
        return None
    more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
    return Problem(
        code="empty_tensors",
        message=f"{empty[0][:120]!r}{more} hold no number: they were saved while DeepSpeed ZeRO-3 or FSDP had them in pieces",
        hint="gather them first: save_pretrained(out, state_dict=accelerator.get_state_dict(model)), "
        "or stage3_gather_16bit_weights_on_model_save with trainer.save_model()",
    )


def finite_problems(tensors: dict[str, Tensor]) -> list[Problem]:
    """Refuse NaN and infinities; every element is looked at."""
    broken = [name for name, tensor in tensors.items() if not tensor.is_finite()]
    if not broken:
        return []
    more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
    hint = "training has diverged: lower the learning rate, clip gradients, hand in an earlier checkpoint"
    return [Problem(code="not_finite", message=f"NaN or infinite values in {broken[0][:120]!r}{more}", hint=hint)]
