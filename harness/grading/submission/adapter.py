"""A PEFT LoRA adapter read as data: which matrices it changes and by how much.

The grader merges adapters into the base weights itself (W' = W + scale · B·A), so nothing in an adapter's configuration can
pick code, load another model or start a decomposition of the base. What the formula does not cover is refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from harness.grading.submission.base_files import BaseFiles
from harness.grading.submission.weights_file import Tensor
from harness.spec.submission import Problem

# Fields with no bearing on what a trained LoRA computes, or read below. PEFT writes auto_mapping (a class of the base model) by
# itself where no task_type was given; the grader looks up no class by it.
_WITHOUT_EFFECT = {
    "task_type", "peft_type", "peft_version", "base_model_name_or_path", "revision", "inference_mode", "r", "target_modules",
    "exclude_modules", "lora_alpha", "lora_dropout", "fan_in_fan_out", "bias", "use_rslora", "init_lora_weights",
    "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "megatron_core", "use_dora", "qalora_group_size",
    "auto_mapping", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "ensure_weight_tying", "runtime_config",
}  # fmt: skip
# Initialisations that leave the base weights alone. PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA change the base at the start,
# so their adapters mean nothing on the plain base model.
_PLAIN_INIT = (True, False, None, "gaussian", "orthogonal", "eva")
_KEY = re.compile(
    r"base_model\.model\.(?P<module>[A-Za-z0-9_.]{1,300})\.(?P<part>lora_A\.weight|lora_B\.weight|lora_magnitude_vector)"
)
_PATTERN_KEY = re.compile(r"\^?[A-Za-z0-9_.]{1,300}")
MAX_SCALE = 1e6


@dataclass(frozen=True)
class LoraModule:
    """One matrix that an adapter changes: A is (rank, in), B is (out, rank), magnitude (out,) for DoRA."""

    target: str
    a: Tensor
    b: Tensor
    magnitude: Tensor | None
    scale: float


@dataclass(frozen=True)
class Adapter:
    """A checked adapter."""

    modules: tuple[LoraModule, ...]


def _number(config: dict[str, Any], name: str, default: float) -> float:
    value = config.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < MAX_SCALE:
        raise ValueError(f"{name} = {str(value)[:40]} is no number between 0 and {MAX_SCALE:.0e}")
    return float(value)


def check_config(config: dict[str, Any]) -> list[Problem]:
    """Say what in ``adapter_config.json`` cannot be graded."""
    kind = config.get("peft_type")
    if kind != "LORA":
        return [
            Problem(
                code="adapter_type",
                message=f"peft_type {str(kind)[:40]!r} is not LORA",
                hint="train a LoRA adapter, or merge yours and hand in full weights",
            )
        ]
    problems = []
    if config.get("init_lora_weights", True) not in _PLAIN_INIT:
        problems.append(
            Problem(
                code="adapter_changes_base",
                message=f"init_lora_weights {str(config['init_lora_weights'])[:40]!r} starts from changed base weights",
                hint="convert it on saving (path_initial_model_for_weight_conversion), or hand in merged full weights",
            )
        )
    unsupported = sorted(
        name for name, value in config.items() if name not in _WITHOUT_EFFECT and value not in (None, False, "", [], {})
    )
    if config.get("bias", "none") != "none":
        unsupported.append("bias")
    if unsupported:
        problems.append(
            Problem(
                code="adapter_unsupported",
                message=f"adapter_config.json sets {', '.join(n[:40] for n in unsupported[:8])}, which the grader does not load",
                hint="hand in plain LoRA (or DoRA) on linear layers, or merge and hand in full weights",
            )
        )
    try:
        _number(config, "r", 8)
        _number(config, "lora_alpha", 8)
        for field in ("rank_pattern", "alpha_pattern"):
            _check_pattern(config, field)
    except ValueError as exc:
        problems.append(Problem(code="bad_config", message=f"adapter_config.json: {exc}", hint="write it with save_pretrained()"))
    return problems


def _check_pattern(config: dict[str, Any], field: str) -> None:
    pattern = config.get(field) or {}
    if not isinstance(pattern, dict):
        raise ValueError(f"{field} is no object")
    for key in pattern:
        if not _PATTERN_KEY.fullmatch(key):
            raise ValueError(f"{field}: {key[:80]!r} is no plain module name")
        _number(pattern, key, 1)


def _for_module(config: dict[str, Any], field: str, module: str, default: float) -> float:
    """Look a module up in a pattern as PEFT does: the first key that is the module's name or a dotted tail of it."""
    for key, value in (config.get(field) or {}).items():
        name = key.removeprefix("^")
        if module == name or (not key.startswith("^") and module.endswith("." + name)):
            return float(value)
    return default


def read_modules(config: dict[str, Any], tensors: dict[str, Tensor], base: BaseFiles) -> tuple[Adapter | None, list[Problem]]:
    """Match an adapter's tensors with the base model's matrices, shape by shape."""
    parts: dict[str, dict[str, Tensor]] = {}
    problems: list[Problem] = []
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None or base_matrix(base, match["module"]) is None:
            problems.append(
                Problem(
                    code="unknown_module",
                    message=f"tensor {key[:160]!r} changes no linear layer of the base model",
                    hint="put LoRA on linear layers of the given base model; for embeddings hand in full weights",
                )
            )
            continue
        parts.setdefault(match["module"], {})[match["part"]] = tensor
    if not tensors:
        problems.append(
            Problem(code="empty_adapter", message="the adapter holds no tensor", hint="train one, or hand in the base model")
        )
    modules = []
    for module, found in parts.items():
        built = _module(config, module, found, base)
        if isinstance(built, Problem):
            problems.append(built)
        else:
            modules.append(built)
    return (None if problems else Adapter(tuple(modules))), problems[:20]


def base_matrix(base: BaseFiles, module: str) -> Tensor | None:
    """Return the weight of a linear layer, or None where the module is none."""
    tensor = base.tensors.get(module + ".weight")
    if tensor is None or len(tensor.shape) != 2 or module.rpartition(".")[2] in ("embed_tokens", "wte", "wpe"):
        return None
    return tensor


def _module(config: dict[str, Any], module: str, found: dict[str, Tensor], base: BaseFiles) -> LoraModule | Problem:
    weight = base_matrix(base, module)
    assert weight is not None
    a, b, magnitude = found.get("lora_A.weight"), found.get("lora_B.weight"), found.get("lora_magnitude_vector")
    if a is None or b is None:
        missing = "lora_A" if a is None else "lora_B"
        return Problem(code="missing_tensors", message=f"{module} has no {missing}", hint="write it with save_pretrained()")
    rank = int(_for_module(config, "rank_pattern", module, float(config.get("r", 8))))
    out, inner = weight.shape
    expected: dict[str, tuple[tuple[int, ...], Tensor]] = {"lora_A": ((rank, inner), a), "lora_B": ((out, rank), b)}
    if config.get("use_dora"):
        if magnitude is None:
            return Problem(
                code="missing_tensors", message=f"{module} has no lora_magnitude_vector", hint="save the DoRA adapter whole"
            )
        expected["lora_magnitude_vector"] = ((out,), magnitude)
    elif magnitude is not None:
        return Problem(
            code="extra_tensors",
            message=f"{module} has a magnitude vector but use_dora is off",
            hint="set use_dora in the config",
        )
    for name, (shape, tensor) in expected.items():
        if tensor.shape != shape:
            return Problem(
                code="wrong_shape",
                message=f"{module} {name} has shape {tensor.shape}; rank {rank} on this base model wants {shape}",
                hint="train the adapter on the given base model and keep adapter_config.json with its weights",
            )
    alpha = _for_module(config, "alpha_pattern", module, float(config.get("lora_alpha", 8)))
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return LoraModule(weight.name, a, b, magnitude, scale)
