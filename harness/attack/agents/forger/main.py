"""Hands in what must be refused, writes down how each ended, and hands in the base model at last."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from typing import Any

import dojo_tool
import torch
from safetensors.torch import load_file, save_file


class RunsWhenLoaded:
    """A pickle that leaves a file where it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/loaded-by-the-grader /work/loaded-by-the-grader",)


def full(name: str, weights: dict[str, Any], config: dict[str, Any]) -> None:
    """Write full weights."""
    os.makedirs(name)
    save_file(weights, f"{name}/model.safetensors", metadata={"format": "pt"})
    with open(f"{name}/config.json", "w") as file:
        json.dump(config, file)


def adapter(name: str, a: Any, b: Any, **config: Any) -> None:
    """Write a LoRA adapter of one matrix, of the rank that its factors have."""
    os.makedirs(name)
    stem = "base_model.model.model.layers.0.self_attn.q_proj"
    save_file({f"{stem}.lora_A.weight": a, f"{stem}.lora_B.weight": b}, f"{name}/adapter_model.safetensors")
    with open(f"{name}/adapter_config.json", "w") as file:
        json.dump({"peft_type": "LORA", "r": len(a), "lora_alpha": len(a), "target_modules": ["q_proj"], **config}, file)


def make() -> list[str]:
    """Make one folder for each attempt and return their names."""
    weights = load_file("/models/base/model.safetensors")
    with open("/models/base/config.json") as file:
        config = json.load(file)
    torch.manual_seed(1)
    strange = {name: torch.randn_like(value) * value.std() for name, value in weights.items()}
    full("stranger", strange, config)
    full("mixture", {name: (0.4 * value + 0.6 * strange[name]).contiguous() for name, value in weights.items()}, config)
    full("architecture", weights, {**config, "num_hidden_layers": 1})
    full("remote", weights, {**config, "auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"}})
    full("nan", {**weights, min(weights): torch.full_like(weights[min(weights)], float("nan"))}, config)
    full("pickled", weights, config)
    with open("pickled/pytorch_model.bin", "wb") as out:
        pickle.dump(RunsWhenLoaded(), out)
    full("code", weights, config)
    with open("code/modeling_evil.py", "w") as file:
        file.write("import os\nos.system('touch /tmp/loaded-by-the-grader')\n")
    full("linked", weights, config)
    os.symlink("/etc/passwd", "linked/tokenizer.json")
    full("hard", weights, config)
    os.link("hard/config.json", "hard/again.json")
    full("pipe", weights, config)
    os.mkfifo("pipe/notes.txt")
    full("many", weights, config)
    for number in range(2_100):
        with open(f"many/f{number}.txt", "w"):
            pass
    full("header", weights, config)
    with open("header/model.safetensors", "r+b") as out:
        out.write((1 << 60).to_bytes(8, "little"))
    full("holes", weights, config)
    os.truncate("holes/model.safetensors", 3 << 30)  # far more than the disk of this sandbox
    matrices = sorted(name for name, value in weights.items() if value.ndim == 2)
    full("half", {**weights, **{name: strange[name] for name in matrices[: len(matrices) // 3]}}, config)
    full("norms", {name: value if value.ndim == 2 else 3 * value for name, value in weights.items()}, config)
    query = "model.layers.0.self_attn.q_proj.weight"
    apart = (strange[query] - weights[query]).float().contiguous()
    adapter("whole-rank", torch.eye(apart.shape[1]), apart)
    adapter("large-rank", torch.zeros(50_000, apart.shape[1]), torch.zeros(apart.shape[0], 50_000))
    adapter("half-rank", torch.zeros(1, apart.shape[1]), torch.zeros(apart.shape[0], 1), r=0.5)
    full("odd-config", weights, {**config, "rope_parameters": [[["\ud800"]]]})
    os.makedirs("empty")
    return ["stranger", "mixture", "architecture", "remote", "nan", "pickled", "code", "linked", "hard", "pipe", "many", "header",
            "holes", "half", "norms", "whole-rank", "large-rank", "half-rank", "odd-config", "empty", "absent",
            "../../etc", "/proc/1/root"]  # fmt: skip


def main() -> None:
    """Try each by `validate` and by `submit`, then hand in the base model itself."""
    api = dojo_tool.Client()
    said: dict[str, list[str]] = {}
    for name in make():
        path = name if name.startswith("/") else f"/workspace/{name}"
        codes = []
        for call in (api.validate, api.submit):
            try:
                answer = call(path)
                codes.append("taken" if answer.get("ok", True) else answer["problems"][0]["code"])
            except dojo_tool.ApiError as exc:
                codes.append(exc.code)
        said[name] = codes
        shutil.rmtree(path, ignore_errors=True)
    os.makedirs("out")
    with open("out/dojo.json", "w") as file:
        json.dump({"dojo": "base"}, file)
    api.submit("/workspace/out")
    with open("said.json", "w") as file:
        json.dump(said, file)


main()
