"""Whether a plan can go on from what an earlier one left: an adapter is only itself at its own rank and scale."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ft_agent.methods.weights import ADAPTER, is_full

# LoraConfig's own values where a plan names none.
_DEFAULTS: Mapping[str, Any] = {"r": 8, "lora_alpha": 8, "use_rslora": False, "use_dora": False}


def lineage_problems(lora: Mapping[str, Any], init: Path | None) -> list[str]:
    """Return why a plan cannot be continued from a folder, each with what to do; empty when it can.

    Args:
        lora: the plan's adapter arguments; empty for full weights, which go on from anything.
        init: adapter or full model, or None for a fresh start.
    """
    if init is None or not lora:
        return []
    if is_full(init):
        return ["parent: it is a full model, and an adapter on it could not be handed in; set lora to {} or parent to null"]
    there = json.loads((init / ADAPTER).read_text(encoding="utf-8"))
    problems = []
    for name, default in _DEFAULTS.items():
        asked, has = lora.get(name, default), there.get(name, default)
        if asked != has:
            problems.append(f"lora.{name} = {asked!r}: the parent's adapter has {has!r}; take that, or set parent to null")
    named, has = lora.get("target_modules"), there.get("target_modules")
    if isinstance(named, list) and isinstance(has, list) and sorted(named) != sorted(has):
        problems.append(
            f"lora.target_modules = {named}: the parent's adapter is on {sorted(has)}; take these, or set parent to null"
        )
    return problems
