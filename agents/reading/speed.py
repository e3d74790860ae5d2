"""How fast a training was: tokens and operations a second, and what share of the card's peak that is."""

from __future__ import annotations

from dataclasses import dataclass

from reading.cards import Card
from reading.memory import Shape, Training, operations_a_token


@dataclass(frozen=True)
class Done:
    """What a training did.

    Attributes:
        tokens: that were trained on, without padding.
        seconds: that it took.
        length: of a row as a token meets it: the mean over tokens of the length of their row.
        scored: share of the tokens whose logits were made.
        peak: bytes of the card that were allocated at most; 0: no card.
        estimated: the same, as it was estimated before; 0: it was not.
    """

    tokens: float
    seconds: float
    length: float = 0.0
    scored: float = 1.0
    peak: int = 0
    estimated: int = 0


def tflops_of(shape: Shape, done: Done, *, rank: int, trained: int | None = None) -> float:
    """Return the TFLOP/s of the model's own operations: neither padding nor what checkpointing computes again counts.

    Args:
        shape: of the model.
        done: what was done.
        rank: of a LoRA adapter; 0: all weights.
        trained: weights that are trained, where an adapter is on fewer layers than all.
    """
    plan = Training(1000, round(1000 * done.scored), round(done.length), rank)
    return operations_a_token(shape, plan, trained) * done.tokens / max(done.seconds, 1e-9) / 1e12


def speed_of(shape: Shape | None, card: Card | None, done: Done, *, rank: int, trained: int | None = None, cards: int = 1) -> str:
    """Say what training came to: tokens/s, TFLOP/s and, on a card, their share of its peak, and memory beside the estimate.

    ``cards`` is how many of that kind worked together. Of a model whose operations cannot be counted (``shape`` None) tokens are
    all that is said, and of a card that is not in the table that its peak is not known.
    """
    said = f"{done.tokens / max(done.seconds, 1e-9):.0f} tokens/s"
    if shape is not None:
        reached = tflops_of(shape, done, rank=rank, trained=trained)
        said += f", {reached:.3g} TFLOP/s"
        if card is not None:
            kind = "bfloat16" if card.bf16 else "fp32"
            of = f"{f'{cards} × ' if cards > 1 else ''}{card.name} in {kind}"
            peak = card.peak
            said += f", {reached / peak / cards:.1%} of the peak of {of}" if peak else f"; the peak of {of} is not known here"
    if done.peak:
        said += f"; peak {done.peak / 1e9:.2f} GB"
        said += f", estimated {done.estimated / 1e9:.2f}" if done.estimated else ", not estimated"
    return said


def length_met(lengths: list[int]) -> float:
    """Return the mean over tokens of their row's length; 0 without rows."""
    return sum(n * n for n in lengths) / max(1, sum(lengths))
