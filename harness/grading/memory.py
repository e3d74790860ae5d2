"""Grading on paper: the memory that answers take on a card, and the least time for them, from a model's shape alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.spec.errors import SpecError
from harness.spec.task import Generation

# Graders compute in bfloat16 on a card.
_BYTES = 2
# What CUDA, its libraries and captured graphs take of a card before anything of the model's is there.
_RUNTIME = 1.5e9
# vLLM leaves a tenth of a card alone unless it is told otherwise.
_SHARE = 0.9
# Prompts are read in so many tokens at a time (vLLM's default for a card).
_READ_AT_ONCE = 8192
# Bytes a second that a card reads from its memory, by a part of its name: their makers' data sheets.
_BANDWIDTH = {
    "H200": 4.8e12, "H100 NVL": 3.9e12, "H100 PCIe": 2.0e12, "H100": 3.35e12, "A100-SXM4-40GB": 1.555e12, "A100": 2.0e12,
    "B200": 7.7e12, "L40S": 0.864e12, "L4": 0.3e12, "A10G": 0.6e12, "RTX 4090": 1.008e12, "RTX 3090": 0.936e12,
}  # fmt: skip
CARDS = (24, 48, 80, 141)
"""Memory of cards that there are, in GB, for what is told on paper."""


@dataclass(frozen=True)
class Shape:
    """A decoder's sizes; ``kv_width`` is the width of a layer's keys, which is that of its values too."""

    layers: int
    hidden: int
    inner: int
    q_width: int
    kv_width: int
    vocabulary: int
    tied: bool
    qkv_bias: bool

    @property
    def parameters(self) -> int:
        """Weights of a decoder with grouped queries, a gated feed-forward layer and RMS norms (Llama, Mistral, Qwen2)."""
        attention = 2 * self.hidden * self.q_width + 2 * self.hidden * self.kv_width
        bias = self.q_width + 2 * self.kv_width if self.qkv_bias else 0
        layer = attention + bias + 3 * self.hidden * self.inner + 2 * self.hidden
        ends = self.vocabulary * self.hidden * (1 if self.tied else 2) + self.hidden
        return self.layers * layer + ends

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values."""
        return 2 * _BYTES * self.layers * self.kv_width


def shape_of(config: Mapping[str, Any]) -> Shape:
    """Read a shape from a model's ``config.json``.

    Raises:
        SpecError: it does not say what it would take.
    """
    try:
        heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
        size = int(config.get("head_dim") or hidden // heads)
        return Shape(
            layers=int(config["num_hidden_layers"]),
            hidden=hidden,
            inner=int(config["intermediate_size"]),
            q_width=heads * size,
            kv_width=int(config.get("num_key_value_heads") or heads) * size,
            vocabulary=int(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", False)),
            qkv_bias=bool(config.get("attention_bias", config.get("model_type") == "qwen2")),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as exc:
        raise SpecError(f"config.json does not tell the shape: {exc!r}", hint="its memory cannot be told on paper") from exc


def _qwen(layers: int, hidden: int, inner: int, heads: int, groups: int, vocabulary: int, tied: bool = False) -> Shape:
    return Shape(layers, hidden, inner, heads * 128, groups * 128, vocabulary, tied, True)


SHAPES: Mapping[str, Shape] = {
    "qwen2.5-3b": _qwen(36, 2048, 11008, 16, 2, 151936, tied=True),
    "qwen2.5-7b": _qwen(28, 3584, 18944, 28, 4, 152064),
    "qwen2.5-14b": _qwen(48, 5120, 13824, 40, 8, 152064),
    "qwen2.5-32b": _qwen(64, 5120, 27648, 40, 8, 152064),
}
"""Base models whose shape is known before they are fetched."""


@dataclass(frozen=True)
class Need:
    """What grading takes of a card, in bytes: ``weights``, each ``answer`` at its whole context, and ``work`` beside them."""

    weights: float
    answer: float
    work: float

    def at_once(self, card: float) -> int:
        """Return how many answers of whole context a card of so many bytes holds together; less than 1: it cannot grade."""
        return max(0, int((card * _SHARE - self.weights - self.work) // self.answer))

    def card(self, answers: int) -> float:
        """Return the bytes of the smallest card that holds so many answers together."""
        return (self.weights + self.work + answers * self.answer) / _SHARE


def need_of(shape: Shape, generation: Generation, parameters: int | None = None) -> Need:
    """Work out what grading takes; ``parameters`` is the number of weights where it is known better than by the shape.

    Reading prompts keeps the feed-forward layer's two halves and their product, and some rows of the hidden width; choosing
    tokens keeps the batch's logits twice in float32.
    """
    read = min(_READ_AT_ONCE, generation.max_context)
    reading = read * (3 * shape.inner + 4 * shape.hidden) * _BYTES
    choosing = 2 * 4 * generation.batch_size * shape.vocabulary
    weights = _BYTES * (parameters or shape.parameters)
    return Need(weights, generation.max_context * shape.token_bytes, _RUNTIME + reading + choosing)


def bandwidth_of(card: str) -> float | None:
    """Return the bytes a second that a card of this name reads from its memory; None where its name says nothing to us."""
    return next((speed for part, speed in _BANDWIDTH.items() if part.lower() in card.lower()), None)


def most_tokens_per_s(need: Need, at_once: int, bandwidth: float) -> float:
    """Return the tokens a second that nothing can exceed: each step reads the weights and, on average, half of every context."""
    return at_once * bandwidth / (need.weights + at_once * need.answer / 2)
