"""Memory: how much a plan will need at its peak, by its method, and what happens where that is more than there is.

On a card plans are held against what is counted from the model's shape (`ft_agent.on_card`). Here is the rule for a CPU, where a
process takes more than its tensors, and for models whose shape is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reading.cards import Card
from reading.fitting import Fit
from reading.memory import Shape

from ft_agent.data import Example
from ft_agent.methods.grpo import ROOM_FACTOR, ROOM_TOKENS
from ft_agent.on_card import fit_on, guessed_rows, has_reference
from ft_agent.plan import Plan

# Characters a token stands for, at least: real text has 3 to 4, numbers and SMILES down to 1.5.
CHARS_PER_TOKEN = 2.0


@dataclass(frozen=True)
class ModelFacts:
    """What estimates need to know of the base model. ``bytes`` is the size of one weight."""

    parameters: int
    layers: int
    hidden: int
    vocabulary: int
    bytes: int


# What a process that has imported torch, transformers, trl and peft takes without a model.
PROCESS_MB = 440.0


def estimate_memory_mb(
    model: ModelFacts, trained_parameters: int, tokens_per_step: int, answer_tokens: int, checkpointing: bool
) -> float:
    """Estimate peak training memory in MB.

    The process with its libraries, weights, four values for each trained parameter (weight, gradient, two moments, fp32), about
    46 bytes for 16 bits of hidden size a token and layer for activations (34 by Korthikanti et al. 2022, section 4.1, a third
    more for gated feed-forward layers and adapters' own inputs; one layer's worth and the layers' inputs under checkpointing),
    and three copies of the answer tokens' logits in fp32. Where all weights are trained they are counted once.
    """
    weights = model.parameters * model.bytes if trained_parameters < model.parameters else 0
    trained = trained_parameters * 16
    per_layer = 46 * model.hidden * max(2, model.bytes) / 2
    activations = tokens_per_step * (
        per_layer + 2 * model.layers * model.hidden * model.bytes if checkpointing else per_layer * model.layers
    )
    logits = 3 * 4 * answer_tokens * model.vocabulary
    return PROCESS_MB + (weights + trained + activations + logits) / 1e6


def lora_parameters(lora: Mapping[str, Any], model: ModelFacts) -> int:
    """Count roughly what an adapter trains: rank × (in + out) over the seven linear layers of a block, fewer where named."""
    targets = lora.get("target_modules", "all-linear")
    modules = 7 if isinstance(targets, str) else min(7, len(targets))
    layers = len(lora["layers_to_transform"]) if isinstance(lora.get("layers_to_transform"), list) else model.layers
    # a feed-forward layer is about three times as wide as the hidden size; the mean over the seven is about 3 × hidden in and
    # out together
    return int(lora.get("r", 8)) * 3 * model.hidden * modules * layers


def needed_mb(plan: Plan, examples: Sequence[Example], model: ModelFacts) -> float:
    """Estimate the peak of training a plan on these examples, in MB.

    SFT makes logits for answers only. DPO runs right and wrong answer side by side and makes logits everywhere, once more for the
    reference. GRPO writes its answers itself, up to their greatest length, with keys and values kept for every layer. Under full
    weights the reference of either is a whole second model.
    """
    batch = int(plan.trainer.get("per_device_train_batch_size", 8))
    limit = plan.trainer.get("max_length") or math.inf
    checkpointing = bool(plan.trainer.get("gradient_checkpointing", False))
    trained = lora_parameters(plan.lora, model) if plan.lora else model.parameters
    reference = model.parameters * 4 / 1e6 if not plan.lora and has_reference(plan.method, plan.trainer) else 0.0
    prompts = [len(e.prompt) / CHARS_PER_TOKEN for e in examples]
    answers = [len(e.answer) / CHARS_PER_TOKEN for e in examples]
    if plan.method == "grpo":
        written = _written(plan, answers)
        tokens = batch * (max(prompts, default=0.0) + written)
        cache = tokens * 2 * model.layers * model.hidden * model.bytes / 1e6
        return estimate_memory_mb(model, trained, int(tokens), batch * written, checkpointing) + reference + cache
    if plan.method == "dpo":
        wrong = [len(e.rejected) / CHARS_PER_TOKEN for e in examples]
        tokens = _most([min(limit, p + a) + min(limit, p + r) for p, a, r in zip(prompts, answers, wrong, strict=True)], batch)
        return estimate_memory_mb(model, trained, int(tokens), int(tokens * 4 / 3), checkpointing) + reference
    tokens = _most([min(limit, p + a) for p, a in zip(prompts, answers, strict=True)], batch)
    return estimate_memory_mb(model, trained, int(tokens), int(_most(answers, batch)), checkpointing)


def fit_of(plan: Plan, examples: Sequence[Example], card: Card, shape: Shape) -> Fit:
    """Return how a plan on these examples is computed on a card, by tokens counted from characters, rather too many.

    Raises:
        ValueError: it does not fit; says what is needed.
    """
    prompts, answers, rejected = (
        [len(text) / CHARS_PER_TOKEN for text in texts]
        for texts in zip(*((e.prompt, e.answer, e.rejected) for e in examples), strict=True)
    )
    limit = float(plan.trainer.get("max_length") or math.inf)
    rows = guessed_rows(plan.method, prompts, answers, rejected, _written(plan, answers), limit)
    return fit_on(card, shape, plan.method, plan.trainer, plan.lora, rows)


def _written(plan: Plan, answers: Sequence[float]) -> int:
    """Return the tokens that GRPO may write for an answer."""
    return int(plan.trainer.get("max_completion_length") or ROOM_FACTOR * max(answers, default=0.0) + ROOM_TOKENS)


def _most(lengths: Sequence[float], batch: int) -> float:
    return sum(sorted(lengths, reverse=True)[:batch])


def allocate_at_most(memory_mb: float) -> None:
    """Let this process allocate no more than that: what asks for more fails, instead of being killed with all around it."""
    import resource

    limit = int(memory_mb * 1e6)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def out_of_memory(exc: BaseException) -> bool:
    """Whether an error says that memory could not be allocated."""
    said = str(exc)
    return isinstance(exc, MemoryError) or (isinstance(exc, RuntimeError) and ("allocate" in said or "out of memory" in said))
