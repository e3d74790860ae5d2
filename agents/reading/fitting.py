"""What fits on a card, before anything is trained: how many rows of a batch at once, packed or not, checkpointed or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from reading.memory import Shape, Training, estimate
from reading.packing import LEAST_SAVED, computed, saved

# Of the memory that is free: what the allocator loses between blocks, and the estimate's own error.
SHARE = 0.85


@dataclass(frozen=True)
class Fit:
    """How a batch is computed.

    Attributes:
        at_once: rows in one pass.
        passes: whose gradients are added up before a step: rows of a batch over ``at_once``.
        checkpointing: whether layers are computed again on the way back.
        peak: bytes that this is estimated to need; 0: it was not estimated.
        packed: whether rows of a pass share rows (`reading.packing`).
    """

    at_once: int
    passes: int
    checkpointing: bool
    peak: int
    packed: bool = False

    def __str__(self) -> str:
        """Say it in a line."""
        more = (", packed" if self.packed else "") + (", with checkpointing" if self.checkpointing else "")
        needs = f"about {self.peak / 1e9:.1f} GB" if self.peak else "its memory is not estimated"
        return f"{self.at_once} rows at once, {self.passes} passes a step{more}: {needs}"


@dataclass(frozen=True)
class Rows:
    """What is trained on.

    Attributes:
        lengths: tokens of each row, in the order of training.
        scored: of each, those whose logits are made; empty: those of every token.
        most_scored: the most that are made at once, where a loss goes over them in parts; 0: all are.
    """

    lengths: Sequence[int]
    scored: Sequence[int] = ()
    most_scored: int = 0


def how_trained(rank: int, *, bf16: bool) -> Training:
    """Return how weights are held and computed with on a card, before rows are known: what decides the kind of number.

    An adapter is in fp32 on frozen weights in bfloat16. All weights are in fp32, computed with in bfloat16: updates smaller than
    bfloat16's own precision would be lost. A card that has no bfloat16 gets fp32 throughout. The optimiser is fused.
    """
    return Training(0, 0, rank=rank, weight_bytes=2 if bf16 and rank else 4, autocast=bf16)


def fit_rows(
    shape: Shape,
    how: Training,
    rows: Rows,
    *,
    batch: int,
    free: float,
    checkpointing: bool | None = None,
    trained: int | None = None,
    pack: bool = True,
) -> Fit:
    """Return how a batch of rows is computed, with as little computed twice as fits.

    Fewer rows at once come before checkpointing: they cost no operations. Rows are packed where that saves `LEAST_SAVED` of what
    padded ones would compute.

    Args:
        shape: the model's.
        how: weights, rank and kind of number (`how_trained`).
        rows: what is trained on.
        batch: rows of a step.
        free: bytes of the card that are free before the model is there.
        checkpointing: whether it is asked for; None: it follows from memory.
        trained: weights that are trained, where an adapter is on fewer layers than all.
        pack: whether rows may be packed: some models do not ask where examples begin.

    Raises:
        ValueError: not even one row with all that may be computed twice fits; says what is needed.
    """
    ways = (False, True) if checkpointing is None else (checkpointing,)
    counted = (shape, how, rows, batch, free, ways, trained)
    if pack and batch > 1 and saved(rows.lengths, batch) >= LEAST_SAVED:
        fit = _fit(*counted, pack=True)
        if fit.at_once > 1:
            return fit
    return _fit(*counted, pack=False)


def peak_of(
    shape: Shape, how: Training, rows: Rows, at_once: int, *, pack: bool, checkpointing: bool, trained: int | None = None
) -> int:
    """Return the bytes at the peak of a pass over the longest ``at_once`` rows."""
    longest = _most(rows.lengths, at_once)
    count, width = computed(longest, pack=pack)
    tokens = count * width
    scored = sum(_most(rows.scored, at_once)) if rows.scored else tokens
    plan = replace(
        how,
        tokens=tokens,
        scored=min(scored, rows.most_scored or scored),
        length=width,
        checkpointing=checkpointing,
        masked=pack or len(set(longest)) > 1,
    )
    return estimate(shape, plan, trained).peak


def _fit(
    shape: Shape, how: Training, rows: Rows, batch: int, free: float, ways: Sequence[bool], trained: int | None, *, pack: bool
) -> Fit:
    for checkpointing in ways:
        for at_once in (n for n in range(batch, 0, -1) if batch % n == 0):
            peak = peak_of(shape, how, rows, at_once, pack=pack, checkpointing=checkpointing, trained=trained)
            if peak <= SHARE * free:
                return Fit(at_once, batch // at_once, checkpointing, peak, pack and at_once > 1)
    raise ValueError(
        f"one row of {max(rows.lengths)} tokens needs about {peak / 1e9:.1f} GB, and of {free / 1e9:.1f} GB that are free "
        f"{SHARE:.0%} are used: take a smaller base model or max_length"
    )


def _most(lengths: Sequence[int], count: int) -> list[int]:
    """Return the longest; where there are fewer rows than a pass has places, some come again."""
    found = sorted(lengths, reverse=True)[:count]
    return found + found[:1] * (count - len(found))


def row_lengths(pairs: Sequence[tuple[str, str]], tokenizer: Any, most: int) -> list[int]:
    """Return the tokens of each (prompt, answer) in the chat template, ``most`` at most."""
    texts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}], tokenize=False
        )
        for prompt, answer in pairs
    ]
    return [min(most, len(ids)) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
