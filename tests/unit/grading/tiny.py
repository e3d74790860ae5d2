"""Tiny base models and submissions for tests: a few kilobytes of weights in the real layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

TOY_TASK = Path(__file__).parent / "toy_task"

HIDDEN, INNER, VOCAB, HEADS, KV_HEADS, LAYERS = 32, 48, 300, 4, 2, 2
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": HIDDEN // HEADS,
    "hidden_act": "silu",
    "vocab_size": VOCAB,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
    "tie_word_embeddings": True,
    "attention_bias": False,
    "mlp_bias": False,
    "bos_token_id": 257,
    "eos_token_id": 257,
    "pad_token_id": 256,
    "dtype": "float32",
}
TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
Q_PROJ = "model.layers.0.self_attn.q_proj"


def shapes() -> dict[str, tuple[int, ...]]:
    kv = KV_HEADS * HIDDEN // HEADS
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCAB, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        stem = f"model.layers.{layer}."
        for name, rows in (("q_proj", HIDDEN), ("k_proj", kv), ("v_proj", kv), ("o_proj", HIDDEN)):
            found[f"{stem}self_attn.{name}.weight"] = (rows, HIDDEN)
        found[stem + "mlp.gate_proj.weight"] = found[stem + "mlp.up_proj.weight"] = (INNER, HIDDEN)
        found[stem + "mlp.down_proj.weight"] = (HIDDEN, INNER)
        found[stem + "input_layernorm.weight"] = found[stem + "post_attention_layernorm.weight"] = (HIDDEN,)
    return found


def random_weights(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: np.ones(shape, np.float32) if len(shape) == 1 else (rng.standard_normal(shape) * 0.2).astype(np.float32)
        for name, shape in shapes().items()
    }


def _save(weights: Mapping[str, np.ndarray], path: Path) -> None:
    save_file(dict(weights), path, metadata={"format": "pt"})
    path.chmod(0o644)  # the library writes for the owner alone; graders read as another user


def write_model(path: Path, weights: Mapping[str, np.ndarray], config: Mapping[str, object] | None = None) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(CONFIG | dict(config or {})))
    _save(weights, path / "model.safetensors")
    return path


def write_base(path: Path, seed: int = 0) -> Path:
    return write_model(path, random_weights(seed))


def write_tokenizer(path: Path) -> None:
    """Bytes as tokens, with an end token: needs no download and reads any text."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|pad|>", special=True), AddedToken("<|end|>", special=True)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>", bos_token="<|end|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(path)


def adapter_weights(seed: int, rank: int = 4, modules: tuple[str, ...] = (Q_PROJ,), size: float = 0.15) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = {}
    for module in modules:
        out, inner = shapes()[module + ".weight"]
        for part, shape in (("lora_A", (rank, inner)), ("lora_B", (out, rank))):
            weights[f"base_model.model.{module}.{part}.weight"] = (rng.standard_normal(shape) * size).astype(np.float32)
    return weights


def write_adapter(path: Path, weights: Mapping[str, np.ndarray], config: Mapping[str, object] | None = None) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    base = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM", "bias": "none"}
    (path / "adapter_config.json").write_text(json.dumps(base | dict(config or {})))
    _save(weights, path / "adapter_model.safetensors")
    return path


def write_marker(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "dojo.json").write_text('{"dojo": "base"}')
    return path


def toy_items(count: int) -> list[dict[str, object]]:
    words = ("apple", "pear", "table", "chair", "river")
    items: list[dict[str, object]] = []
    for i in range(count):
        if i % 2:
            gold: object = i * 7 % 50
            prompt, subset = f"What is {i} times 7, modulo 50? Number only.", "sum"
        else:
            gold = words[i // 2 % len(words)]
            prompt, subset = f"Item {i}: repeat the word {gold}.", "word"
        row = {"subset": subset, "gold": gold}
        items.append(
            {"id": f"i{i}", "subset": subset, "type": subset, "prompt": prompt, "gold": gold, "row": row, "answer": str(gold)}
        )
    return items


def write_lines(path: Path, documents: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(d) + "\n" for d in documents))
    return path
