"""Throughput and memory of one case: a model of random weights is trained, or answers as the grader lets it answer."""

from __future__ import annotations

import gc
import math
import statistics
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

from reading import memory
from reading.packing import IGNORED, Packed, computed, packed
from reading.speed import length_met

from gpu_kit.cases import PARAMETERS, SHAPES, Case

# Steps that do not count, and those that do: enough for a median, few enough for a slow card.
_WARM, _STEPS, _STEPS_S = 2, 12, 60.0
# What CUDA's context and libraries take beside what is allocated, and the share that an estimate may be wrong by.
_RESERVED_BYTES, _DOUBT = 1.5e9, 1.05
# The share by which states of the same rows may differ in bfloat16.
_ALIKE = 0.05


class TooLarge(Exception):
    """The estimate says that a case does not fit this card."""


def measured(case: Case, device: str) -> dict[str, Any]:
    """Return a case's figures.

    Raises:
        TooLarge: it would not fit.
        RuntimeError: the model is not what its shape says, or its loss is no number.
    """
    from transformers import Qwen2Config

    config = Qwen2Config(**SHAPES[case.shape], use_cache=False)
    shape = memory.Shape.of(config.to_dict())
    if shape.parameters != PARAMETERS.get(case.shape, shape.parameters):
        raise RuntimeError(f"{case.shape} has {PARAMETERS[case.shape]} weights, and its shape says {shape.parameters}")
    found = _answers(case, config, shape, device) if case.written else _trained(case, config, shape, device)
    return {"shape": case.shape, "parameters": shape.parameters, "batch": case.batch, "length": case.length, **found}


def _model(config: Any, shape: memory.Shape, dtype: Any, device: str, attention: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
    if model.num_parameters() != shape.parameters:
        raise RuntimeError(f"transformers makes {model.num_parameters()} weights of a shape of {shape.parameters}")
    return model


def plan_of(case: Case) -> memory.Training:
    """Return how a case trains, as the estimate wants it."""
    rows, width = computed(case.lengths, pack=case.packed) if case.lengths else (case.batch, case.length)
    tokens, masked = rows * width, bool(case.lengths)
    autocast = case.rank > 0 or case.weight_bytes == 4
    return memory.Training(tokens, tokens, width, case.rank, case.weight_bytes, autocast, case.checkpointing, masked=masked)


def batch_of(case: Case, shape: memory.Shape, device: str, *, pack: bool) -> dict[str, Any]:
    """Return random rows as a case has them: all of one length, or padded or packed."""
    import torch

    lengths = case.lengths or (case.length,) * case.batch
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(0, shape.vocabulary, (n,), generator=generator) for n in lengths]
    if pack:
        return {n: t.to(device) for n, t in Packed(0)([{"input_ids": row, "labels": row} for row in rows]).items()}
    ids, labels, mask = (torch.full((len(rows), max(lengths)), fill) for fill in (0, IGNORED, 0))
    for number, row in enumerate(rows):
        ids[number, : len(row)], labels[number, : len(row)], mask[number, : len(row)] = row, row, 1
    more = {"attention_mask": mask} if case.lengths else {}
    return {n: t.to(device) for n, t in {"input_ids": ids, "labels": labels, **more}.items()}


def _apart(model: Any, case: Case, shape: memory.Shape, device: str, computing: Any) -> dict[str, float]:
    """Return how far packed examples' last states are from padded ones', and how far where they see each other, for comparison.

    Raises:
        RuntimeError: farther than bfloat16 explains: examples see each other here.
    """
    import torch

    padded, batch = (batch_of(case, shape, device, pack=pack) for pack in (False, True))
    places, seen = batch["position_ids"], torch.arange(batch["position_ids"].shape[1], device=device)
    body, found = model.get_base_model().model, {}
    with torch.no_grad(), computing():
        alone = body(padded["input_ids"], attention_mask=padded["attention_mask"], use_cache=False)[0]
        for name, positions in (("apart", places), ("apart_where_they_see_each_other", seen.expand_as(places))):
            together = body(batch["input_ids"], position_ids=positions, use_cache=False)[0]
            off = size = 0.0
            for number, row in enumerate(packed(case.lengths)):
                at = 0
                for place in row:
                    mine, its = together[number, at : at + case.lengths[place]], alone[place, : case.lengths[place]]
                    off, size = off + float((mine - its).float().norm() ** 2), size + float(its.float().norm() ** 2)
                    at += case.lengths[place]
            found[name] = math.sqrt(off / size)
    if not found["apart"] <= _ALIKE:
        raise RuntimeError(f"states of packed rows are {found['apart']:.3f} of their size apart from those of padded ones")
    return found


def _trained(case: Case, config: Any, shape: memory.Shape, device: str) -> dict[str, Any]:
    import torch

    plan = plan_of(case)
    told = memory.estimate(shape, plan)
    _require_room(told.peak, device)
    model = _model(config, shape, torch.float32 if case.weight_bytes == 4 else torch.bfloat16, device, "sdpa")
    if case.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if case.rank:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=case.rank, target_modules="all-linear", task_type="CAUSAL_LM"))
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    wanted = shape.adapter(case.rank) if case.rank else shape.parameters
    if sum(p.numel() for p in trained) != wanted:
        raise RuntimeError(f"{sum(p.numel() for p in trained)} weights are trained where the shape says {wanted}")
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=device == "cuda")
    batch = batch_of(case, shape, device, pack=case.packed)
    computing = partial(torch.autocast, device, dtype=torch.bfloat16) if plan.autocast else nullcontext
    apart = _apart(model, case, shape, device, computing) if case.packed else {}
    losses: list[float] = []
    seconds: list[float] = []
    begun = time.perf_counter()
    while len(seconds) < _WARM + (_STEPS if device == "cuda" else 2):
        if len(seconds) > _WARM and time.perf_counter() - begun > _STEPS_S:
            break
        _wait(device)
        start = time.perf_counter()
        with computing():
            loss = model(**batch, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        _wait(device)
        seconds.append(time.perf_counter() - start)
    if not all(map(math.isfinite, losses)):
        raise RuntimeError(f"the loss is no number: {losses}")
    step = statistics.median(seconds[_WARM:])
    # padding is no work done
    lengths = list(case.lengths) or [case.length] * case.batch
    a_token = memory.operations_a_token(shape, replace(plan, length=round(length_met(lengths))))
    return {
        **apart,
        "tokens": sum(lengths),
        "computed_tokens": plan.tokens,
        "rank": case.rank,
        "weight_bytes": case.weight_bytes,
        "checkpointing": case.checkpointing,
        "steps": len(seconds) - _WARM,
        "step_s": step,
        "step_s_all": seconds,
        "tokens_per_s": sum(lengths) / step,
        "operations_per_token": a_token,
        "tflops": a_token * sum(lengths) / step / 1e12,
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "memory": _compared(told.peak, device) | {"parts": vars(told)},
    }


def _answers(case: Case, config: Any, shape: memory.Shape, device: str) -> dict[str, Any]:
    import torch

    from harness.grading.worker import attention
    from harness.grading.worker.generation import generate_in_groups

    told = memory.answering(shape, case.batch, case.length + case.written)
    _require_room(told, device)
    model = _model(config, shape, torch.bfloat16, device, attention.register()).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(0, shape.vocabulary, (2 * case.batch, case.length), generator=generator).tolist()
    asked: dict[str, Any] = {"stop_tokens": frozenset[int](), "batch_size": case.batch}
    generate_in_groups(model, prompts[: case.batch], caps=[2] * case.batch, **asked)
    _wait(device)
    start = time.perf_counter()
    found = generate_in_groups(model, prompts, caps=[case.written] * len(prompts), **asked)
    _wait(device)
    seconds = time.perf_counter() - start
    written = sum(len(answer.tokens) for answer in found)
    if written != case.written * len(prompts):
        raise RuntimeError(f"{written} tokens were written where {case.written * len(prompts)} were asked for")
    return {
        "prompts": len(prompts),
        "written": case.written,
        "seconds": seconds,
        "tokens_per_s": written / seconds,
        "prompt_tokens_per_s": case.length * len(prompts) / seconds,
        "memory": _compared(told, device),
    }


def _wait(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def _require_room(needed: float, device: str) -> None:
    if device != "cuda":
        return
    import torch

    gc.collect()  # a case that broke has left its tensors to the collector
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    free, _ = torch.cuda.mem_get_info()
    if needed * _DOUBT + _RESERVED_BYTES > free:
        raise TooLarge(f"about {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free")


def _compared(estimated: int, device: str) -> dict[str, Any]:
    """Set an estimate beside what was allocated at most; without a GPU nobody counts that."""
    if device != "cuda":
        return {"estimated": estimated, "measured": None, "ratio": None}
    import torch

    most = torch.cuda.max_memory_allocated()
    return {"estimated": estimated, "measured": most, "ratio": estimated / most}
