"""Whether a config.json describes the base model's architecture. The grader computes with the base's own config in any case."""

from __future__ import annotations

from typing import Any

from harness.spec.submission import Problem

# Fields that change no output of a causal language model at greedy decoding, or that the grader takes from the base anyway.
_WITHOUT_EFFECT = {
    "_name_or_path", "_model_name_or_path", "architectures", "attention_dropout", "bos_token_id", "eos_token_id", "pad_token_id",
    "unk_token_id", "dtype", "torch_dtype", "initializer_range", "max_position_embeddings", "pretraining_tp",
    "transformers_version", "use_cache", "output_attentions", "output_hidden_states", "return_dict", "_attn_implementation",
    "_attn_implementation_autoset", "is_llama_config", "rope_interleaved", "task_specific_params", "id2label", "label2id",
}  # fmt: skip
TIE = (
    "embedding and output layer must be tied as in the base model: train with ensure_weight_tying=True in PEFT's LoraConfig, or "
    "with LoRA on linear layers alone, and save again"
)
"""What to do where the two are one matrix in the base model and two in a submission."""
_CODE = ("auto_map", "custom_pipelines", "trust_remote_code")


def compare_config(config: dict[str, Any], base: dict[str, Any]) -> tuple[list[Problem], list[str]]:
    """Compare a submitted ``config.json`` with the base model's; return (problems, notes)."""
    code = [name for name in _CODE if config.get(name)]
    if code:
        text = f"config.json sets {', '.join(code)}: the grader loads no code from a submission"
        return [Problem(code="code", message=text, hint="take it out; the base model's own classes are used")], []
    if config.get("quantization_config"):
        text = "config.json describes quantised weights"
        return [Problem(code="quantised", message=text, hint="hand in float32, bfloat16 or float16 weights")], []
    ours, theirs = _flat(base), _flat(config)
    differing = [k for k in sorted(ours.keys() & theirs.keys()) if ours[k] != theirs[k] and k not in _WITHOUT_EFFECT]
    if config.get("architectures") and _classes(config["architectures"]) != _classes(base.get("architectures")):
        differing.append("architectures")
    if "model_type" not in config:
        differing.append("model_type")
    if differing:
        name = differing[0]
        found = repr(config.get(name, theirs.get(name)))[:60]
        text = f"config.json: {name} = {found}, the base model has {repr(base.get(name, ours.get(name)))[:60]}"
        more = f" ({len(differing)} fields differ)" if len(differing) > 1 else ""
        hint = TIE if name == "tie_word_embeddings" else "fine-tune the given base model, unchanged in shape"
        return [Problem(code="wrong_architecture", message=text + more, hint=hint)], []
    ignored = [k for k in sorted(ours.keys() & theirs.keys()) if ours[k] != theirs[k] and k not in _QUIET]
    notes = [f"config.json: {', '.join(ignored)} ignored: the grader uses the base model's"] if ignored else []
    return [], notes


def _classes(names: Any) -> Any:
    """Return the names of a model's classes as training leaves them alone.

    FSDP2 makes a class of its own from the model's (``FSDPLlamaForCausalLM``), and the body saved without its output layer is
    called ``LlamaModel``; whether the weights are all there is told by the weights.
    """
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return names
    return [name.removeprefix("FSDP").removesuffix("ForCausalLM").removesuffix("Model") for name in names]


# Differences that mean nothing at all and are not worth a note.
_QUIET = {"_name_or_path", "_model_name_or_path", "dtype", "torch_dtype", "transformers_version", "use_cache"}


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """Bring older spellings to today's: ``rope_theta`` and ``rope_scaling`` live in ``rope_parameters``; numbers as floats."""
    flat = {k: v for k, v in config.items() if v is not None}
    rope = dict(flat.pop("rope_parameters", None) or {})
    scaling = flat.pop("rope_scaling", None)
    if isinstance(scaling, dict):
        rope |= scaling
    if "rope_theta" in flat:
        rope["rope_theta"] = flat.pop("rope_theta")
    rope["rope_type"] = rope.get("rope_type", rope.pop("type", "default"))
    for name, value in rope.items():
        flat["rope." + name] = value
    return {k: float(v) if isinstance(v, int | float) and not isinstance(v, bool) else v for k, v in flat.items()}
