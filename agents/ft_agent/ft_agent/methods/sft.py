"""Supervised fine-tuning on answers."""

from __future__ import annotations

from typing import Any

from reading.fitting import Rows

from ft_agent.methods.base import Material, Setting, watched_loss
from ft_agent.packing import choose_collator, encode


class Sft:
    """See the module."""

    def config_class(self) -> Any:
        """Return TRL's class of arguments."""
        from trl import SFTConfig

        return SFTConfig

    def defaults(self) -> dict[str, Any]:
        """The plain negative log-likelihood, which `ft_agent.lean` works out cheaply."""
        return {"gradient_checkpointing": False, "loss_type": "nll"}

    def fixed(self) -> dict[str, Any]:
        """Rows come as tokens."""
        return {"dataset_kwargs": {"skip_prepare_dataset": True}}

    def read(self, setting: Setting) -> Material:
        """Encode prompts and answers."""
        examples, dropped = encode(setting.tokenizer, setting.job["examples"], setting.max_length)
        if not examples:
            raise ValueError(f"no training example fits max_length = {setting.max_length}; raise it or take shorter examples")
        counted = Rows([len(e) for e in examples], [len(e.answer) for e in examples])
        return Material(examples, len(dropped), sum(counted.lengths) / len(examples), counted)

    def layout(self, setting: Setting, material: Material) -> str:
        """Return the collator's name."""
        return type(_collator(setting, material.rows)).__name__

    def trainer(self, setting: Setting, material: Material, model: Any, common: dict[str, Any]) -> Any:
        """Make TRL's trainer with the lean loss."""
        from datasets import Dataset

        from ft_agent.lean import lean_trainer

        rows = [{"prompt": list(e.prompt), "answer": list(e.answer)} for e in material.rows]
        collator = _collator(setting, material.rows)
        return lean_trainer()(model=model, train_dataset=Dataset.from_list(rows), data_collator=collator, **common)

    def watch(self) -> Any:
        """Watch the loss."""
        return watched_loss()


def _collator(setting: Setting, examples: list[Any]) -> Any:
    how: dict[str, Any] = {"dtype": setting.dtype, "pad": setting.pad, "shared_works": setting.shared_works}
    return choose_collator(examples, setting.batch, **how, packed=setting.packed)
