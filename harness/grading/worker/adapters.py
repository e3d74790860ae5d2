"""Adapters for vLLM: which it may compute beside the base's weights, and how such a one is written for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.grading.submission.adapter import Adapter
from harness.grading.submission.weights_file import Tensor

MAX_RANK = 64
"""Room that a warm engine keeps for an adapter's rank: each layer computes with that much, whatever an adapter's own rank is."""
# Linear layers that vLLM computes adapters of, as decoders of the Llama kind (Qwen, Mistral, SmolLM, …) call them.
SERVED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def why_merged(adapter: Adapter, device: str, config: Mapping[str, Any]) -> str:
    """Return why vLLM cannot serve an adapter as it is and gets merged weights; empty where it can.

    Args:
        adapter: a checked adapter.
        device: what vLLM computes on, ``cpu`` or ``cuda``.
        config: the base model's configuration.
    """
    if adapter.whole:
        return f"it brings {min(adapter.whole)} whole"
    if any(module.magnitude is not None for module in adapter.modules):
        return "it is DoRA"
    rank = max(module.a.shape[0] for module in adapter.modules)
    if rank > MAX_RANK:
        return f"its rank {rank} is above {MAX_RANK}"
    other = sorted({name for module in adapter.modules if (name := _layer(module.target)) not in SERVED})
    if other:
        return f"vLLM serves no adapter of {other[0][:80]}"
    if any("expert" in key for key in config):
        return "the base model is a mixture of experts"
    if device != "cuda":
        # measured with smol on one thread, rank 16, 32 answers of 32 tokens: 18.5 s served, 5.3 s merged
        return f"on {device} vLLM computes adapters several times slower than merged weights"
    return ""


def write_served(adapter: Adapter, folder: Path) -> Path:
    """Write a checked adapter anew, with nothing in its configuration but what we say, and return its folder.

    Every factor has the adapter's largest rank (padded with zeros) and B is multiplied by the scale, so that no pattern of ranks
    and no formula of scales is left for vLLM to read.
    """
    import torch
    from safetensors.torch import save_file

    from harness.grading.worker.warm_model import read_tensor

    rank = max(module.a.shape[0] for module in adapter.modules)
    tensors: dict[str, Any] = {}

    def padded(tensor: Tensor, shape: tuple[int, int]) -> Any:
        values = torch.zeros(shape, dtype=torch.float32)
        values[: tensor.shape[0], : tensor.shape[1]] = read_tensor(tensor).to(torch.float32)
        return values

    for module in adapter.modules:
        stem = f"base_model.model.{module.target.removesuffix('.weight')}"
        tensors[f"{stem}.lora_A.weight"] = padded(module.a, (rank, module.a.shape[1]))
        tensors[f"{stem}.lora_B.weight"] = padded(module.b, (module.b.shape[0], rank)) * module.scale
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    targets = sorted({_layer(module.target) for module in adapter.modules})
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "bias": "none", "target_modules": targets}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="ascii")
    return folder


def _layer(target: str) -> str:
    """Return the last part of a layer's name: ``q_proj`` of ``model.layers.0.self_attn.q_proj.weight``."""
    return target.removesuffix(".weight").rpartition(".")[2]
