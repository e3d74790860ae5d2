"""How much memory training and answering need, worked out from a model's shape; and how many operations a token costs.

Counted is what PyTorch's autograd keeps of transformers' decoder layers with SDPA attention, tensor by tensor: the tests compare
it with what is really kept. A program too, so that what must not import an agent can ask it:

    python agents/reading/memory.py MODEL/config.json --batch 4 --length 2048 [--rank 16] [--checkpointing]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_FLOAT = 4  # norms, losses and the moments of fp32 weights, whatever the model computes in
# Decoders of these kinds have the layers that are counted here: gated feed-forward, grouped queries, RMS norms.
KINDS = ("llama", "mistral", "qwen2", "qwen3")
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Shape:
    """A decoder's sizes.

    Attributes:
        inner: width of the feed-forward layers.
        queries: heads times the size of one; ``keys`` likewise, of the heads that keys and values have.
        tied: one matrix is the embedding and the output layer.
        biases: weights of a block's biases.
        head_norm: size of a head where queries and keys have norms of their own, else 0.
    """

    layers: int
    hidden: int
    inner: int
    heads: int
    queries: int
    keys: int
    vocabulary: int
    tied: bool
    biases: int = 0
    head_norm: int = 0

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """Read a Hugging Face ``config.json``.

        Raises:
            ValueError: another kind of model than is counted here.
        """
        kind = config.get("model_type")
        if kind not in KINDS:
            raise ValueError(f"memory is counted for {', '.join(KINDS)}; this is {kind!r}")
        heads, hidden, inner = (int(config[n]) for n in ("num_attention_heads", "hidden_size", "intermediate_size"))
        size = int(config.get("head_dim") or hidden // heads)
        queries, keys = heads * size, int(config.get("num_key_value_heads") or heads) * size
        biases = queries + 2 * keys if kind == "qwen2" or config.get("attention_bias") else 0
        biases += hidden if config.get("attention_bias") and kind != "qwen2" else 0
        biases += 2 * inner + hidden if config.get("mlp_bias") else 0
        return cls(
            int(config["num_hidden_layers"]),
            hidden,
            inner,
            heads,
            queries,
            keys,
            int(config["vocab_size"]),
            bool(config.get("tie_word_embeddings", False)),
            biases,
            size if kind == "qwen3" else 0,
        )

    def linear(self) -> dict[str, tuple[int, int]]:
        """Return the linear layers of a block, name → (in, out)."""
        h, i, q, k = self.hidden, self.inner, self.queries, self.keys
        sizes = ((h, q), (h, k), (h, k), (q, h), (h, i), (h, i), (i, h))
        return dict(zip(LINEAR, sizes, strict=True))

    @property
    def multiplied(self) -> int:
        """Weights that every token is multiplied with: the blocks' linear layers and the output layer."""
        return self.layers * sum(a * b for a, b in self.linear().values()) + self.hidden * self.vocabulary

    @property
    def parameters(self) -> int:
        """All weights."""
        small = self.layers * (2 * self.hidden + self.biases + 2 * self.head_norm) + self.hidden
        return self.multiplied + small + (0 if self.tied else self.hidden * self.vocabulary)

    def adapter(self, rank: int, targets: tuple[str, ...] = LINEAR, layers: int | None = None) -> int:
        """Return the weights of a LoRA adapter on these layers of a block, of all blocks or of so many."""
        sizes = self.linear()
        return (self.layers if layers is None else layers) * sum(rank * sum(sizes[name]) for name in targets)


@dataclass(frozen=True)
class Training:
    """How a model is trained.

    Attributes:
        tokens: in a batch, padding included.
        scored: of them, those whose logits are made; a loss on answers only makes few.
        length: of a row, for the operations of attention.
        rank: of a LoRA adapter on every linear layer in fp32; 0: all weights.
        weight_bytes: of one weight of the model: 4, or 2 for bfloat16.
        autocast: computes in bfloat16 whatever the weights are.
        checkpointing: keeps the layers' inputs alone and computes the rest again.
        masked: whether attention is given a mask of ``length`` places for each token, as for rows that are padded or packed:
            every layer keeps its own copy of that, and of keys and values for every head.
        scratch: whether the optimiser makes one more value for each trained weight in its step, as AdamW does on a GPU that is
            not asked to fuse it.
    """

    tokens: int
    scored: int
    length: int = 0
    rank: int = 0
    weight_bytes: int = 4
    autocast: bool = False
    checkpointing: bool = False
    scratch: bool = False
    masked: bool = False


@dataclass(frozen=True)
class Memory:
    """Bytes by what they are for. ``peak`` is of the moment that needs most, so it is less than the sum."""

    weights: int
    gradients: int
    optimiser: int
    activations: int
    logits: int
    peak: int


def kept_by_layer(shape: Shape, training: Training) -> int:
    """Return the bytes that autograd keeps of a token in a layer."""
    compute = 2 if training.autocast else training.weight_bytes
    full, h = training.rank == 0, shape.hidden
    # fp32 copies of a norm's input and its scale; where the norm's weight is trained, what it is multiplied with too
    norms = 2 * (_FLOAT * (h + 1) + (training.weight_bytes * h if full else 0))
    if shape.head_norm:
        width = shape.queries + shape.keys
        norms += _FLOAT * (width + width // shape.head_norm) + (compute * width if full else 0)
    # queries and what comes out; keys and values, which a mask makes wider; the sums of weights
    kept = 2 * (shape.queries if training.masked else shape.keys)
    attention = compute * (2 * shape.queries + kept + (training.length if training.masked else 0)) + _FLOAT * shape.heads
    feed_forward = compute * 4 * shape.inner
    # one input serves q, k and v, one gate and up, and o has attention's output; a cast makes a copy for each that casts
    if not training.autocast:
        inputs = 2 * h
    elif full:
        inputs = (5 if training.weight_bytes == _FLOAT else 2) * h
    else:
        inputs = 5 * h + shape.queries
    return norms + attention + feed_forward + compute * (inputs + len(LINEAR) * training.rank)


def estimate(shape: Shape, training: Training, trained: int | None = None) -> Memory:
    """Estimate what training needs beside the process itself.

    Args:
        shape: of the model.
        training: how.
        trained: weights that are trained, where an adapter is on fewer layers than ``rank`` on all.
    """
    full, each, tokens = training.rank == 0, training.weight_bytes, training.tokens
    compute = 2 if training.autocast else each
    count = shape.parameters if full else shape.adapter(training.rank) if trained is None else trained
    value = each if full else _FLOAT
    weights = shape.parameters * each + (0 if full else count * value)
    gradients, moments = count * value, 2 * count * value
    cast = 2 * (shape.multiplied if full else count) if training.autocast and value == _FLOAT else 0
    layer = kept_by_layer(shape, training) * tokens
    held = shape.layers * (each * shape.hidden * tokens if training.checkpointing else layer)
    held += training.length * tokens if training.masked else 0
    # what a layer's own way back needs beside what was kept: under checkpointing all of it, made again
    working = (compute * 3 * shape.inner + _FLOAT * 2 * shape.hidden) * tokens + (layer if training.checkpointing else 0)
    head = (_FLOAT + compute) * shape.hidden * tokens
    # logits, their logarithms in fp32 and the gradients of these; then the output layer's own gradient beside 16 bits of them
    logits = 12 * shape.vocabulary * training.scored
    output = (each * shape.hidden if full else 0) * shape.vocabulary
    moments_of_peak = (
        held + head + cast + max(logits, output + compute * shape.vocabulary * training.scored),
        held + cast + output + working,
        gradients + working,
        gradients + (count * value if training.scratch else 0),
    )
    peak = weights + moments + max(moments_of_peak)
    return Memory(weights, gradients, moments, held + head + cast, logits, peak)


def operations_a_token(shape: Shape, training: Training, trained: int | None = None) -> float:
    """Return the floating-point operations that training on a token takes, what checkpointing computes again left out.

    Two for each weight in the pass forward, two for the gradients of its inputs, two for its own where it is trained, so a frozen
    one under an adapter takes four; the output layer for the scored tokens alone; attention over the mean half of a row.

    Args:
        shape: of the model.
        training: how; of its tokens only the share that is scored counts.
        trained: weights that are trained, where an adapter is on fewer layers than ``rank`` on all.
    """
    attention = 6.0 * training.length * shape.queries * shape.layers
    unscored = 1.0 - training.scored / max(1, training.tokens)
    multiplied = shape.multiplied - unscored * shape.hidden * shape.vocabulary
    if training.rank == 0:
        return 6.0 * multiplied + attention
    return 4.0 * multiplied + 6.0 * (shape.adapter(training.rank) if trained is None else trained) + attention


def answering(shape: Shape, batch: int, context: int, weight_bytes: int = 2) -> int:
    """Return the bytes that ``batch`` answers at once need: weights, keys and values of the whole context, logits in fp32."""
    cache = 2 * shape.layers * shape.keys * weight_bytes * batch * context
    return shape.parameters * weight_bytes + cache + _FLOAT * shape.vocabulary * batch


def main() -> None:
    """Print the estimate as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--scored", type=int, help="tokens whose logits are made; default: all")
    parser.add_argument("--rank", type=int, default=0, help="of a LoRA adapter; 0: all weights are trained")
    parser.add_argument("--weight-bytes", type=int, choices=(2, 4), default=2)
    parser.add_argument("--autocast", action="store_true")
    parser.add_argument("--checkpointing", action="store_true")
    args = parser.parse_args()
    try:
        shape = Shape.of(json.loads(args.config.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError) as exc:
        sys.exit(f"{args.config}: {exc}")
    tokens = args.batch * args.length
    scored = tokens if args.scored is None else args.scored
    plan = Training(tokens, scored, args.length, args.rank, args.weight_bytes, args.autocast, args.checkpointing)
    told = {
        "parameters": shape.parameters,
        **asdict(estimate(shape, plan)),
        "answering": answering(shape, args.batch, args.length),
    }
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
