"""How a plan is computed on a card: one rule, asked by validation with guessed lengths and by the trainer with real ones.

Weights and numbers are those of `reading.fitting.how_trained`; attention is SDPA, which needs no package and takes the masks of
packed rows. How many rows of a batch at once, packed or padded, and whether layers are computed twice follow from memory, where a
plan does not say it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reading.cards import Card
from reading.fitting import SHARE, Fit, Rows, fit_rows, how_trained, peak_of
from reading.memory import LINEAR, Shape

from ft_agent.plan import Method

# Copies of a whole model that a run keeps on its disk at most, beside heats: of the newest, the best, the champion and one more
# that is being written.
FULL_COPIES = 8
# DPO makes logits of both models: those of the reference alone, without the two copies for the way back.
DPO_LOGITS = 4 / 3


def trained_weights(shape: Shape, lora: Mapping[str, Any]) -> int:
    """Return how many weights a plan trains; an empty ``lora``: all. Targets beside a block's layers are not counted."""
    if not lora:
        return shape.parameters
    named, layers = lora.get("target_modules", "all-linear"), lora.get("layers_to_transform")
    targets = LINEAR if isinstance(named, str) else tuple(n for n in LINEAR if n in named)
    return shape.adapter(rank_of(lora), targets, len(layers) if isinstance(layers, list) else None)


def rank_of(lora: Mapping[str, Any]) -> int:
    """Return an adapter's rank; 0: all weights are trained."""
    return int(lora.get("r", 8)) if lora else 0


def has_reference(method: Method, trainer: Mapping[str, Any]) -> bool:
    """Whether a method holds the model against the one it began with."""
    return method == "dpo" or (method == "grpo" and float(trainer.get("beta") or 0.0) > 0)


def fit_on(
    card: Card,
    shape: Shape | None,
    method: Method,
    trainer: Mapping[str, Any],
    lora: Mapping[str, Any],
    rows: Rows,
    *,
    pack: bool = True,
) -> Fit:
    """Return how a plan's batch is computed on a card.

    What SFT learns from a step does not depend on how its batch is cut, so it is cut to fit. DPO and GRPO compute a batch as it
    is, padded. A model that is not counted computes its batch whole and, where the plan does not say otherwise, with
    checkpointing.

    Args:
        card: with what is free on it.
        shape: the model's; None: it is not counted.
        method: how the plan learns.
        trainer: its arguments.
        lora: its adapter's; empty: all weights.
        rows: of dpo two for each example, of grpo as long as they may become.
        pack: whether rows may be packed.

    Raises:
        ValueError: it does not fit; says what is needed.
    """
    batch, asked = int(trainer.get("per_device_train_batch_size", 8)), trainer.get("gradient_checkpointing")
    if shape is None:
        return Fit(batch, 1, True if asked is None else bool(asked), 0)
    how, trained = how_trained(rank_of(lora), bf16=card.bf16), trained_weights(shape, lora)
    if method == "sft":
        return fit_rows(shape, how, rows, batch=batch, free=card.free, checkpointing=asked, trained=trained, pack=pack)
    at_once = 2 * batch if method == "dpo" else batch
    beside = 4 * shape.parameters if not lora and has_reference(method, trainer) else 0
    if method == "grpo":
        # keys and values of what it writes
        beside += 2 * shape.layers * shape.keys * how.weight_bytes * at_once * max(rows.lengths)
    elif method == "dpo":
        rows = replace(rows, scored=[round(DPO_LOGITS * n) for n in rows.lengths])
    peak = 0
    for checkpointing in (False, True) if asked is None else (bool(asked),):
        peak = beside + peak_of(shape, how, rows, at_once, pack=False, checkpointing=checkpointing, trained=trained)
        if peak <= SHARE * card.free:
            return Fit(batch, 1, checkpointing, peak)
    room = f"of {card.free / 1e9:.1f} GB that are free {SHARE:.0%} are used"
    raise ValueError(f"{method} of {batch} rows needs about {peak / 1e9:.1f} GB, and {room}")


def all_weights_fit(card: Card, shape: Shape | None, *, gpus: int, longest: int, answer: int, disk_mb: float) -> bool:
    """Whether training all weights is worth a plan here: the rule of the planner without a language model.

    On one card that computes in bfloat16, a row of the task's whole context must fit with all weights, their gradients and
    moments in fp32, and the run's disk must hold `FULL_COPIES` of the model.
    """
    if shape is None or gpus != 1 or not card.bf16 or FULL_COPIES * 2 * shape.parameters > 1e6 * disk_mb:
        return False
    try:
        fit_rows(shape, how_trained(0, bf16=True), Rows([longest], [answer]), batch=1, free=card.free)
    except ValueError:
        return False
    return True


def guessed_rows(
    method: Method, prompts: Sequence[float], answers: Sequence[float], rejected: Sequence[float], written: int, limit: float
) -> Rows:
    """Return rows as `fit_on` wants them, of lengths in tokens that need not be whole; what is over ``limit`` is cut."""
    if method == "grpo":
        return Rows([round(p + written) for p in prompts], [written] * len(prompts))
    lengths = [round(min(limit, p + a)) for p, a in zip(prompts, answers, strict=True)]
    if method == "dpo":
        return Rows(lengths + [round(min(limit, p + r)) for p, r in zip(prompts, rejected, strict=True)])
    return Rows(lengths, [round(min(limit, a)) for a in answers])
