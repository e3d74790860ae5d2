"""Configurations, checked against the trainer's real dataclasses.

`schema_of` reads names, types, defaults and choices from a dataclass (in the process that has the trainer imported); `check`
compares a plan with such a schema and needs no library, so that a wrong argument costs milliseconds.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Arguments that the loop itself decides; a plan that sets one would fight it.
OWNED = frozenset(
    {
        "output_dir", "max_steps", "num_train_epochs", "seed", "data_seed", "use_cpu", "bf16", "fp16", "report_to", "push_to_hub",
        "logging_strategy", "logging_steps", "logging_nan_inf_filter", "save_strategy", "eval_strategy", "resume_from_checkpoint",
        "remove_unused_columns", "dataset_kwargs", "disable_tqdm", "lr_scheduler_type", "warmup_steps", "packing", "padding_free",
        "completion_only_loss", "assistant_only_loss", "deepspeed", "fsdp", "hub_token", "local_rank", "model_init_kwargs",
        "optim", "train_sampling_strategy", "ddp_backend", "auto_find_batch_size", "shuffle_dataset",
        "precompute_ref_log_probs", "sync_ref_model", "use_vllm", "use_transformers_continuous_batching", "log_completions",
    }
)  # fmt: skip
# argument → lowest, highest sensible value. Outside, training is known to do nothing, to diverge or to fail.
RANGES: dict[str, tuple[float, float]] = {
    "learning_rate": (1e-7, 3e-2),
    "weight_decay": (0.0, 0.5),
    "adam_beta1": (0.0, 0.999),
    "adam_beta2": (0.8, 0.99999),
    "adam_epsilon": (1e-12, 1e-3),
    "max_grad_norm": (0.0, 100.0),
    "per_device_train_batch_size": (1, 512),
    "gradient_accumulation_steps": (1, 512),
    "max_length": (16, 131072),
    "neftune_noise_alpha": (0.0, 50.0),
    "label_smoothing_factor": (0.0, 0.5),
    "beta": (0.0, 10.0),
    "num_generations": (2, 64),
    "max_completion_length": (1, 32768),
    "temperature": (0.05, 5.0),
    "top_p": (0.05, 1.0),
    "epsilon": (0.01, 1.0),
    "num_iterations": (1, 16),
    "r": (1, 512),
    "lora_alpha": (1, 2048),
    "lora_dropout": (0.0, 0.6),
}


@dataclass(frozen=True)
class Argument:
    """One argument of a trainer's class: the types it takes (int, float, bool, str, list, dict, none, any) and its choices."""

    types: tuple[str, ...]
    default: Any = None
    choices: tuple[str, ...] = ()


Schema = dict[str, Argument]


def schema_of(cls: type) -> Schema:
    """Read a dataclass's arguments. Types that are not plain (callables, classes) are taken as ``any``."""
    hints = typing.get_type_hints(cls)
    schema = {}
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        names, choices = _types(hints[field.name])
        default = field.default if isinstance(field.default, str | int | float | bool) else None
        schema[field.name] = Argument(
            tuple(sorted(names)), default.value if isinstance(default, enum.Enum) else default, tuple(choices)
        )
    return schema


def schema_to_json(schema: Schema) -> dict[str, Any]:
    """Return plain JSON of a schema."""
    return {name: dataclasses.asdict(argument) for name, argument in schema.items()}


def schema_from_json(value: Mapping[str, Any]) -> Schema:
    """Read what `schema_to_json` wrote."""
    return {n: Argument(tuple(a["types"]), a["default"], tuple(a["choices"])) for n, a in value.items()}


def check(
    trainer: Mapping[str, Any],
    lora: Mapping[str, Any],
    schemas: Mapping[str, Schema],
    *,
    cuda: bool,
    method: str = "sft",
) -> list[str]:
    """Return what is wrong with a plan's configuration, each with the value and what to do; empty when all is well.

    Args:
        trainer: arguments of the method's trainer.
        lora: arguments of the adapter; empty for full weights.
        schemas: one for each method, and ``lora``.
        cuda: whether there is a GPU.
        method: how the plan learns.
    """
    if method not in schemas or method == "lora":
        return [f"method {method!r} has no trainer here; there are {', '.join(sorted(set(schemas) - {'lora'}))}"]
    problems = []
    for group, schema, values in (("trainer", schemas[method], trainer), ("lora", schemas["lora"], lora)):
        for name, value in values.items():
            if name in OWNED:
                problems.append(f"{group}.{name} is decided by the loop; leave it out")
            elif name not in schema:
                problems.append(f"{group}.{name} is no argument of the trainer" + _instead(name, group, method, schemas))
            else:
                problems += [f"{group}.{name} = {value!r}: {p}" for p in _value_problems(name, value, schema[name])]
    return problems or _dependencies(trainer, lora, cuda) + _of_method(trainer, schemas[method], method)


def describe(schemas: Mapping[str, Schema]) -> str:
    """List the arguments with a known range, in words: those every method takes, those only some take, and the adapter's."""
    methods = [m for m in schemas if m != "lora"]
    lines = []
    for name, (low, high) in sorted(RANGES.items()):
        takers = [m for m in methods if name in schemas[m]]
        for group, of, schema in (("trainer", takers, schemas[takers[0]] if takers else {}), ("lora", [], schemas["lora"])):
            if name in schema:
                argument, only = schema[name], f" ({', '.join(of)} only)" if of and len(of) < len(methods) else ""
                lines.append(
                    f"- {group}.{name}{only}: {' or '.join(argument.types)}, default {argument.default}, {low:g} … {high:g}"
                )
    return "\n".join(lines)


def _instead(name: str, group: str, method: str, schemas: Mapping[str, Schema]) -> str:
    others = [m for m in schemas if m not in ("lora", method) and name in schemas[m]]
    if group == "trainer" and others:
        return f" for {method}; it is one for {' and '.join(others)}"
    close = difflib.get_close_matches(name, schemas[method if group == "trainer" else "lora"], n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _of_method(trainer: Mapping[str, Any], schema: Schema, method: str) -> list[str]:
    if method == "dpo" and trainer.get("beta") == 0:
        return ["trainer.beta = 0: answers are not told apart without it; take 0.1"]
    if method == "grpo":
        batch = int(trainer.get("per_device_train_batch_size", 8)) * int(trainer.get("gradient_accumulation_steps", 1))
        group = int(trainer.get("num_generations") or schema["num_generations"].default)
        if batch % group:
            return [f"trainer.num_generations = {group}: a step has {batch} answers, which are no whole groups; take a divisor"]
    return []


def _dependencies(trainer: Mapping[str, Any], lora: Mapping[str, Any], cuda: bool) -> list[str]:
    problems = []
    if trainer.get("tf32") and not cuda:
        problems.append("trainer.tf32 needs a GPU; leave it out on a CPU")
    if trainer.get("use_liger_kernel") and not cuda:
        problems.append("trainer.use_liger_kernel needs a GPU; leave it out on a CPU")
    if lora.get("layers_to_transform") is not None and isinstance(lora.get("target_modules"), str):
        problems.append("lora.layers_to_transform needs target_modules as a list of names, not one text")
    if lora.get("use_dora") and lora.get("lora_dropout"):
        problems.append("lora.use_dora is slow with lora_dropout; set one of them")
    return problems


def _value_problems(name: str, value: Any, argument: Argument) -> list[str]:
    kinds = {bool: "bool", int: "int", float: "float", str: "str", list: "list", tuple: "list", dict: "dict", type(None): "none"}
    kind = kinds.get(type(value), "any")
    fits = kind in argument.types or "any" in argument.types or (kind == "int" and "float" in argument.types)
    if not fits:
        return [f"is {kind}, expected {' or '.join(argument.types)}"]
    if isinstance(value, float) and not math.isfinite(value):
        return ["is not finite"]
    if argument.choices and isinstance(value, str) and value not in argument.choices:
        return [f"is none of {', '.join(argument.choices[:12])}"]
    if name in RANGES and isinstance(value, int | float) and not isinstance(value, bool):
        low, high = RANGES[name]
        if not low <= value <= high:
            return [f"is outside {low:g} … {high:g}"]
    return []


def _types(hint: Any) -> tuple[set[str], list[str]]:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        names: set[str] = set()
        choices: list[str] = []
        for part in typing.get_args(hint):
            more, further = _types(part)
            names |= more
            choices += further
        free = str in typing.get_args(hint) and not choices
        return names, [] if free else choices
    if origin is typing.Literal:
        values = typing.get_args(hint)
        return {"bool" if isinstance(v, bool) else type(v).__name__ for v in values}, [v for v in values if isinstance(v, str)]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {"str"}, [str(m.value) for m in hint]
    plain = {
        bool: "bool",
        int: "int",
        float: "float",
        str: "str",
        type(None): "none",
        list: "list",
        tuple: "list",
        set: "list",
        dict: "dict",
    }
    name = plain.get(origin or hint)
    return ({name} if name else {"any"}), []
