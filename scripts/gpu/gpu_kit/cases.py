"""What is measured: models by their exact shapes with random weights, and how each is trained or answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

# As in the config.json of Qwen/Qwen2.5-3B-Instruct and Qwen/Qwen2.5-7B-Instruct; `tiny` is of the same kind, for any CPU.
SHAPES: dict[str, dict[str, Any]] = {
    "3b": {
        "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
        "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True,
    },
    "7b": {
        "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
        "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False,
    },
    "tiny": {
        "hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 128, "tie_word_embeddings": False,
    },
}  # fmt: skip
# Weights of each, by which a changed library is noticed before a figure is believed.
PARAMETERS = {"3b": 3_085_938_688, "7b": 7_615_616_512}


@dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes:
        name: the step's.
        shape: of `SHAPES`.
        rank: of a LoRA adapter on every linear layer; 0: all weights.
        weight_bytes: of one weight of the model: 4 computes under autocast, as ft_agent trains all weights.
        checkpointing: of the layers.
        batch: rows at once.
        length: tokens of a row; of a prompt where answers are measured.
        written: tokens of each answer; 0: this is a training.
        lengths: of rows that are not all of one length, in place of ``batch`` and ``length``.
        packed: whether these share rows (`reading.packing`); else they are padded.
    """

    name: str
    shape: str
    rank: int = 0
    weight_bytes: int = 2
    checkpointing: bool = False
    batch: int = 4
    length: int = 2048
    written: int = 0
    lengths: tuple[int, ...] = ()
    packed: bool = False

    def small(self) -> Case:
        """Return the same for a dry run."""
        lengths = tuple(n // 32 for n in self.lengths)
        batch, length = len(lengths) or 2, max(lengths, default=16)
        tiny = replace(self, shape="tiny", rank=min(self.rank, 4), written=min(self.written, 4))
        return replace(tiny, batch=batch, length=length, lengths=lengths)


# Rows as tasks have them: padded to the longest they are 8,192 tokens, of which 3,072 are theirs.
UNLIKE = (1024, 512, 512, 256, 256, 256, 128, 128)
CASES = (
    Case("train-3b-lora", "3b", rank=16),
    Case("train-3b-full", "3b", weight_bytes=4),
    Case("train-3b-lora-padded", "3b", rank=16, batch=8, length=1024, lengths=UNLIKE),
    Case("train-3b-lora-packed", "3b", rank=16, batch=8, length=1024, lengths=UNLIKE, packed=True),
    Case("train-7b-lora", "7b", rank=16),
    Case("train-7b-lora-checkpointing", "7b", rank=16, checkpointing=True),
    Case("train-7b-full-bf16", "7b", checkpointing=True),
    Case("train-7b-full", "7b", weight_bytes=4, checkpointing=True),
    Case("answer-3b", "3b", batch=64, length=512, written=128),
    Case("answer-7b", "7b", batch=64, length=512, written=128),
)


def case_of(name: str, dry_run: bool) -> Case:
    """Return a case by its name."""
    found = next(case for case in CASES if case.name == name)
    return found.small() if dry_run else found
