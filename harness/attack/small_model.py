"""A base model of a few kilobytes and what can be made from it, for attacks on the check of submissions. Needs numpy alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Weights = dict[str, NDArray[np.float32]]

_HIDDEN, _INNER, _VOCAB, _LAYERS = 32, 48, 300, 2
LAYER = "model.layers.0.self_attn.q_proj"
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": _HIDDEN, "intermediate_size": _INNER,
    "num_hidden_layers": _LAYERS, "num_attention_heads": 4, "num_key_value_heads": 4, "hidden_act": "silu", "vocab_size": _VOCAB,
    "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
    "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2,
    "dtype": "float32",
}  # fmt: skip
ADAPTER: dict[str, Any] = {
    "peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "somebody/else",
}  # fmt: skip


def random_weights(seed: int) -> Weights:
    """Draw weights of this architecture."""
    import numpy as np

    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (_VOCAB, _HIDDEN), "model.norm.weight": (_HIDDEN,)}
    for layer in range(_LAYERS):
        stem = f"model.layers.{layer}."
        shapes |= {f"{stem}self_attn.{name}_proj.weight": (_HIDDEN, _HIDDEN) for name in "qkvo"}
        shapes |= {f"{stem}mlp.{name}_proj.weight": (_INNER, _HIDDEN) for name in ("gate", "up")}
        shapes |= {f"{stem}mlp.down_proj.weight": (_HIDDEN, _INNER)}
        shapes |= {f"{stem}{name}_layernorm.weight": (_HIDDEN,) for name in ("input", "post_attention")}
    return {
        name: np.ones(shape, np.float32) if len(shape) == 1 else (rng.standard_normal(shape) * 0.2).astype(np.float32)
        for name, shape in shapes.items()
    }


def adapter_weights(rank: int = 4, layer: str = LAYER, width: int = _HIDDEN) -> Weights:
    """Return a LoRA adapter's two matrices."""
    import numpy as np

    a, b = np.full((rank, width), 0.01, np.float32), np.full((width, rank), 0.01, np.float32)
    return {f"base_model.model.{layer}.lora_A.weight": a, f"base_model.model.{layer}.lora_B.weight": b}


def header_of(weights: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return a safetensors header as an object, and the data it describes."""
    entries: dict[str, Any] = {}
    data = b""
    for name, values in weights.items():
        raw = values.tobytes()
        entries[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    return entries, data


def write_safetensors(path: Path, header: object, data: bytes) -> None:
    """Write a file with this header (JSON-able, or bytes as they are) and data."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + data)


def write_full(folder: Path, weights: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> Path:
    """Write full weights with a config."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | dict(config or {})))
    write_safetensors(folder / "model.safetensors", *header_of(weights))
    return folder


def write_adapter(folder: Path, weights: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> Path:
    """Write an adapter with a config."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(ADAPTER | dict(config or {})))
    write_safetensors(folder / "adapter_model.safetensors", *header_of(weights))
    return folder
