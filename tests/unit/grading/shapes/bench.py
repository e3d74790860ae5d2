"""Tiny models to make submissions from: as trained, and as PEFT and transformers read what was saved."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.unit.agents.tiny_model import make_tiny_model


class Bench:
    """Two base models of one architecture, one with one matrix for embedding and output, and what training makes of them."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self.folder = folder
        self.paths = {tied: make_tiny_model(folder / ("tied" if tied else "untied"), tied) for tied in (False, True)}
        self._loaded = {
            tied: AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32) for tied, path in self.paths.items()
        }
        self._ids = torch.randint(3, 250, (2, 24), generator=torch.Generator().manual_seed(1))

    def model(self, tied: bool = False) -> Any:
        """Return a base model to be trained."""
        return copy.deepcopy(self._loaded[tied])

    def trained(self, tied: bool = False, share: float = 0.05) -> Any:
        """Return a base model with every weight moved by a share of its size."""
        model = self.model(tied)
        moved(model.parameters(), share)
        return model

    def lora(self, tied: bool = False, **config: Any) -> Any:
        """Return a base model with LoRA that is not nothing any more."""
        import peft

        chosen = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"} | config
        model = peft.get_peft_model(self.model(tied), peft.LoraConfig(**chosen))
        learn(model)
        return model

    def logits(self, model: Any) -> Any:
        """Return what a model says to the same two texts."""
        import torch

        model.eval()
        with torch.no_grad():
            return model(input_ids=self._ids.to(next(model.parameters()).device)).logits.float()

    def loaded_by_peft(self, folder: Path, tied: bool) -> Any:
        """Return the logits of an adapter as PEFT reads it."""
        import peft

        return self.logits(peft.PeftModel.from_pretrained(self.model(tied), folder))

    def loaded_by_transformers(self, folder: Path) -> Any:
        """Return the logits of full weights as transformers reads them."""
        import torch
        from transformers import AutoModelForCausalLM

        return self.logits(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32))

    def copy_config(self, folder: Path, tied: bool = False, **fields: Any) -> None:
        """Put the base's ``config.json`` beside weights, with other fields."""
        config = json.loads((self.paths[tied] / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | fields))


def moved(parameters: Any, share: float) -> None:
    """Move tensors by a share of their size."""
    import torch

    generator = torch.Generator().manual_seed(2)
    for parameter in parameters:
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data += share * noise * parameter.data.norm() / noise.norm()


def learn(model: Any) -> None:
    """Give every trainable tensor of a PEFT model a value that changes what the model says, as training does."""
    import torch

    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if "lora_" in name and "magnitude" not in name:
            parameter.data = 0.08 * torch.randn(parameter.shape, generator=generator)
        else:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data += 0.05 * noise * parameter.data.norm() / noise.norm()


def save_tensors(tensors: Mapping[str, Any], path: Path) -> None:
    """Write a state dict as safetensors; names that share memory get a copy each."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, path, metadata={"format": "pt"})


def read_tensors(path: Path) -> dict[str, Any]:
    """Read them."""
    from safetensors.torch import load_file

    return load_file(path)


def rewrite(path: Path, change: Callable[[str, Any], tuple[str, Any] | None]) -> None:
    """Change names and values of a file of tensors; None drops one."""
    found = [change(name, tensor) for name, tensor in read_tensors(path).items()]
    save_tensors(dict(pair for pair in found if pair is not None), path)


def edit(path: Path, **fields: Any) -> None:
    """Change fields of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def emptied(folder: Path) -> Path:
    """Return a folder with nothing in it, for a remedy that saves anew."""
    shutil.rmtree(folder)
    folder.mkdir()
    return folder
