"""The mean of several adapters, as one adapter.

The mean of the products B·A is not the product of the means, so ranks are stacked: with A's rows and B's columns side by side,
each B times its weight and scale, one product is exactly the weighted sum. The rank is the sum of the ranks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# Settings under which an adapter is more than scale · B·A, so that a sum of products is not the mean of what they do.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "use_dora": (False, None),
    "bias": ("none", None),
    "modules_to_save": (None, []),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "fan_in_fan_out": (False, None),
}


class CannotAverage(ValueError):
    """These adapters have no mean that is an adapter. Says which of them differs in what."""


def average(folders: Sequence[Path], weights: Sequence[float] | None, out: Path) -> None:
    """Write the weighted mean of adapters to ``out``; without ``weights`` all weigh the same.

    Args:
        folders: adapters of the same base model on the same layers; ranks may differ.
        weights: one for each, positive; only their ratios matter.
        out: the folder to write.

    Raises:
        CannotAverage: fewer than two, unlike bases or layers, or an adapter that is more than a product.
    """
    from safetensors.torch import load_file, save_file

    shares = _shares(folders, weights)
    configs = [_read(folder) for folder in folders]
    _alike(folders, configs)
    tensors = [load_file(str(folder / WEIGHTS)) for folder in folders]
    for folder, found in zip(folders[1:], tensors[1:], strict=True):
        differing = sorted(found.keys() ^ tensors[0].keys())
        if differing:
            raise CannotAverage(
                f"{folder} and {folders[0]} do not change the same layers: {differing[0]}; average adapters of one shape"
            )
    import torch

    mean = {}
    for name in sorted(tensors[0]):
        if ".lora_A." in name:
            mean[name] = torch.cat([t[name].float() for t in tensors], 0).contiguous()
        elif ".lora_B." in name:
            parts = [t[name].float() * s * _scale(c) for t, s, c in zip(tensors, shares, configs, strict=True)]
            mean[name] = torch.cat(parts, 1).contiguous()
        else:
            raise CannotAverage(f"{folders[0]} holds {name}, which is no part of a product; average plain adapters")
    rank = sum(int(c["r"]) for c in configs)
    out.mkdir(parents=True, exist_ok=True)
    config = {**configs[0], "r": rank, "lora_alpha": rank, "use_rslora": False, "inference_mode": True}
    (out / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    save_file(mean, str(out / WEIGHTS), metadata={"format": "pt"})


def _shares(folders: Sequence[Path], weights: Sequence[float] | None) -> list[float]:
    if len(folders) < 2:
        raise CannotAverage(f"{len(folders)} adapters have no mean; name two or more")
    given = [1.0] * len(folders) if weights is None else [float(w) for w in weights]
    if len(given) != len(folders) or not all(math.isfinite(w) and w > 0 for w in given):
        raise CannotAverage(f"weights {given} do not fit {len(folders)} adapters; give one positive number for each")
    return [w / sum(given) for w in given]


def _read(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise CannotAverage(f"{folder} holds no adapter; full weights are not averaged here") from exc
    for name, plain in _PLAIN.items():
        if config.get(name) not in plain:
            raise CannotAverage(f"{folder} has {name} = {config[name]!r}, so it is more than a product; average plain adapters")
    return dict(config)


def _alike(folders: Sequence[Path], configs: Sequence[dict[str, Any]]) -> None:
    for name in ("base_model_name_or_path", "peft_type", "task_type"):
        for folder, config in zip(folders, configs, strict=True):
            if config.get(name) != configs[0].get(name):
                raise CannotAverage(
                    f"{folder} has {name} {config.get(name)!r}, {folders[0]} has {configs[0].get(name)!r}; "
                    "average adapters of one base model"
                )


def _scale(config: dict[str, Any]) -> float:
    rank = int(config["r"])
    return float(config["lora_alpha"]) / (math.sqrt(rank) if config.get("use_rslora") else rank)
