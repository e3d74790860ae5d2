"""What ``adapter_config.json`` may say, and what it says of one layer: rank, alpha, scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.grading.submission.module_pattern import Budget, ModulePattern, PatternError
from harness.spec.submission import Problem

# Fields with no bearing on what a trained LoRA computes, or read below. PEFT writes auto_mapping (a class of the base model) by
# itself where no task_type was given; the grader looks up no class by it.
_WITHOUT_EFFECT = {
    "task_type", "peft_type", "peft_version", "base_model_name_or_path", "revision", "inference_mode", "r", "target_modules",
    "exclude_modules", "lora_alpha", "lora_dropout", "fan_in_fan_out", "bias", "use_rslora", "init_lora_weights",
    "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "megatron_core", "use_dora", "qalora_group_size",
    "auto_mapping", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "ensure_weight_tying", "runtime_config",
    "modules_to_save",
}  # fmt: skip
# Initialisations that leave the base weights alone. PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA change the base at the start,
# so their adapters mean nothing on the plain base model.
_PLAIN_INIT = (True, False, None, "gaussian", "orthogonal", "eva")
MAX_SCALE = 1e6
# PEFT's own default where the file says nothing.
_DEFAULT = 8.0

MERGE = "merge it (merge_and_unload()) and hand in the full weights with save_pretrained()"


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
                hint="convert it on saving (path_initial_model_for_weight_conversion), or " + MERGE,
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
                hint="hand in plain LoRA (or DoRA) on linear layers, or " + MERGE,
            )
        )
    try:
        LayerSettings.of(config)
    except PatternError as exc:
        problems.append(pattern_problem(exc))
    except ValueError as exc:
        problems.append(Problem(code="bad_config", message=f"adapter_config.json: {exc}", hint="write it with save_pretrained()"))
    return problems


def pattern_problem(exc: PatternError) -> Problem:
    """Return the problem of patterns that cannot be followed."""
    hint = "name the layers plainly in rank_pattern and alpha_pattern, or with less of an expression"
    return Problem(code="bad_config", message=f"adapter_config.json: {exc}", hint=hint)


def _number(config: dict[str, Any], name: str, default: float = _DEFAULT) -> float:
    value = config.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < MAX_SCALE:
        raise ValueError(f"{name} = {str(value)[:40]} is no number between 0 and {MAX_SCALE:.0e}")
    return float(value)


def _rank(config: dict[str, Any], name: str, default: float = _DEFAULT) -> float:
    value = _number(config, name, default)
    if value != int(value):
        raise ValueError(f"{name} = {value} is no whole number")
    return value


@dataclass(frozen=True)
class LayerSettings:
    """What a configuration says of each layer that an adapter changes."""

    _config: dict[str, Any]
    _ranks: list[tuple[ModulePattern, float]]
    _alphas: list[tuple[ModulePattern, float]]
    _budget: Budget

    @classmethod
    def of(cls, config: dict[str, Any]) -> LayerSettings:
        """Read them.

        Raises:
            ValueError: a rank, an alpha or a pattern is none; names it.
        """
        _rank(config, "r")
        _number(config, "lora_alpha")
        saved = config.get("modules_to_save") or []
        if not isinstance(saved, list) or not all(isinstance(name, str) and name for name in saved):
            raise ValueError("modules_to_save is no list of names")
        return cls(config, _patterns(config, "rank_pattern", _rank), _patterns(config, "alpha_pattern", _number), Budget())

    @property
    def dora(self) -> bool:
        """Whether a magnitude goes with each layer."""
        return bool(self._config.get("use_dora"))

    @property
    def keeps_tied(self) -> bool:
        """Whether PEFT was told to keep what is tied together while it trains (``ensure_weight_tying``)."""
        return bool(self._config.get("ensure_weight_tying"))

    @property
    def saved(self) -> list[str]:
        """The modules that were trained and saved whole, by their names or tails of them."""
        return list(self._config.get("modules_to_save") or [])

    def rank(self, layer: str) -> int:
        """Return a layer's rank.

        Raises:
            PatternError: the patterns are too many or too complicated to be followed for every layer.
        """
        return int(self._first(self._ranks, layer, _rank(self._config, "r")))

    def scale(self, layer: str) -> float:
        """Return what B·A is multiplied with; raises as `rank`."""
        rank = self.rank(layer)
        alpha = self._first(self._alphas, layer, _number(self._config, "lora_alpha"))
        return alpha / (math.sqrt(rank) if self._config.get("use_rslora") else rank)

    def _first(self, patterns: list[tuple[ModulePattern, float]], layer: str, default: float) -> float:
        return next((value for pattern, value in patterns if pattern.matches(layer, self._budget)), default)


def _patterns(
    config: dict[str, Any], field: str, read: Callable[[dict[str, Any], str], float]
) -> list[tuple[ModulePattern, float]]:
    pattern = config.get(field) or {}
    if not isinstance(pattern, dict):
        raise ValueError(f"{field} is no object")
    found = []
    for key in pattern:
        try:
            compiled = ModulePattern.of(key)
        except PatternError as exc:
            raise PatternError(f"{field}: {key[:80]!r} cannot be followed: {exc}") from exc
        found.append((compiled, read(pattern, key)))
    return found
