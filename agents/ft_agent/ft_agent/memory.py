"""Memory: how much a plan will need at its peak, by its method, and what happens where that is more than there is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ft_agent.config import ModelFacts, estimate_memory_mb, lora_parameters
from ft_agent.data import Example
from ft_agent.methods.grpo import ROOM_FACTOR, ROOM_TOKENS
from ft_agent.plan import Plan

# Characters a token stands for, at least: real text has 3 to 4, numbers and SMILES down to 1.5.
CHARS_PER_TOKEN = 2.0


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
    reference = model.parameters * 4 / 1e6 if not plan.lora and _has_reference(plan) else 0.0
    prompts = [len(e.prompt) / CHARS_PER_TOKEN for e in examples]
    answers = [len(e.answer) / CHARS_PER_TOKEN for e in examples]
    if plan.method == "grpo":
        written = int(plan.trainer.get("max_completion_length") or ROOM_FACTOR * max(answers, default=0.0) + ROOM_TOKENS)
        tokens = batch * (max(prompts, default=0.0) + written)
        cache = tokens * 2 * model.layers * model.hidden * model.bytes / 1e6
        return estimate_memory_mb(model, trained, int(tokens), batch * written, checkpointing) + reference + cache
    if plan.method == "dpo":
        wrong = [len(e.rejected) / CHARS_PER_TOKEN for e in examples]
        tokens = _most([min(limit, p + a) + min(limit, p + r) for p, a, r in zip(prompts, answers, wrong, strict=True)], batch)
        return estimate_memory_mb(model, trained, int(tokens), int(tokens * 4 / 3), checkpointing) + reference
    tokens = _most([min(limit, p + a) for p, a in zip(prompts, answers, strict=True)], batch)
    return estimate_memory_mb(model, trained, int(tokens), int(_most(answers, batch)), checkpointing)


def _has_reference(plan: Plan) -> bool:
    return plan.method == "dpo" or (plan.method == "grpo" and float(plan.trainer.get("beta") or 0.0) > 0)


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
