"""What is trained, an adapter or the full weights: put on, continued, saved, and taken off again.

Full weights are handed in as a folder of the whole model (``config.json``, ``*.safetensors``), an adapter as PEFT saves it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

ADAPTER, FULL = "adapter_config.json", "config.json"


def is_full(folder: Path) -> bool:
    """Whether a folder holds a whole model and not an adapter."""
    return (folder / FULL).exists() and not (folder / ADAPTER).exists()


def put_on(model: Any, lora: dict[str, Any], init: Path | None) -> Any:
    """Return the model as it is to be trained, from where ``init`` ended.

    Args:
        model: the base model; its own weights change where ``lora`` is empty.
        lora: LoraConfig's arguments; empty for full weights.
        init: an adapter's or a full model's folder, or None.

    Raises:
        ValueError: an adapter was asked for on a full model.
    """
    if lora:
        from peft import LoraConfig, get_peft_model

        if init and is_full(init):
            raise ValueError(f"{init} is a full model; an adapter on it could not be handed in, continue it with lora = {{}}")
        worn = get_peft_model(model, LoraConfig(**{"task_type": "CAUSAL_LM", **lora}))
        if init:
            _load_adapter(worn, init)
        return worn
    if init and is_full(init):
        _load_full(model, init)
    elif init:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(init)).merge_and_unload()
    # 16-bit weights lose updates smaller than their own precision; the trainer computes in 16 bits where the config says so
    return model.float().requires_grad_(True)


def save(model: Any, out: Path, dtype: Any) -> None:
    """Save what was trained as it will be scored; a reference adapter that a trainer put beside it is left out."""
    if hasattr(model, "peft_config"):
        model.save_pretrained(str(out), selected_adapters=["default"])
    else:
        model.to(dtype).save_pretrained(str(out))


def wear(model: Any, folder: Path, dtype: Any) -> Any:
    """Return the model as a folder has it: the base model with an adapter, or a model of its own."""
    if is_full(folder):
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(str(folder), dtype=dtype).to(model.device)
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(folder))


def _load_adapter(model: Any, folder: Path) -> None:
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    set_peft_model_state_dict(model, load_file(str(folder / "adapter_model.safetensors")))


def _load_full(model: Any, folder: Path) -> None:
    from safetensors.torch import load_file

    for file in sorted(folder.glob("*.safetensors")):
        unknown = model.load_state_dict(load_file(str(file)), strict=False).unexpected_keys
        if unknown:
            raise ValueError(f"{file} holds {unknown[0]}, which the base model has not; continue a fine-tune of the base model")
