"""Child process: one GGUF file becomes a Hugging Face directory with float32 safetensors.

``python -m harness.assets.gguf FILE TARGET``
"""

from __future__ import annotations

import sys
from pathlib import Path

# The chat format of the GGUF's tokenizer; its own metadata names other ids for some of them.
_SPECIAL = {"bos": ("<|im_start|>", 1), "eos": ("<|im_end|>", 2), "pad": ("<|endoftext|>", 0)}


def convert(gguf: Path, target: Path) -> None:
    """Convert; the weights are dequantised, so nothing of the quantisation must remain in the configuration."""
    from typing import Any

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model.hf_quantizer, model.is_quantized, model.quantization_method = None, False, None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    # False: decoding must give back exactly the text that was encoded.
    tokenizer.clean_up_tokenization_spaces = False
    for role, (token, number) in _SPECIAL.items():
        setattr(tokenizer, f"{role}_token", token)
        for config in (model.config, model.generation_config):
            setattr(config, f"{role}_token_id", number)
        if tokenizer.convert_tokens_to_ids(token) != number:
            raise SystemExit(f"{token} has id {tokenizer.convert_tokens_to_ids(token)}, not {number}")
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
