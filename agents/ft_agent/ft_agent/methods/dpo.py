"""Direct preference optimisation: the right answer against a wrong one of the model's own."""

from __future__ import annotations

import copy
from typing import Any

from reading.fitting import Rows

from ft_agent.methods.base import Material, Setting, watched_loss
from ft_agent.packing import encode


class Dpo:
    """See the module. The reference is the model as it was when the run began."""

    def config_class(self) -> Any:
        """Return TRL's class of arguments."""
        from trl import DPOConfig

        return DPOConfig

    def defaults(self) -> dict[str, Any]:
        """Nothing is cut: `read` leaves out what is too long."""
        return {"gradient_checkpointing": False, "max_length": None}

    def fixed(self) -> dict[str, Any]:
        """Nothing more."""
        return {}

    def read(self, setting: Setting) -> Material:
        """Encode each prompt with its right and its wrong answer; examples without a wrong one are left out."""
        job = setting.job
        given = [(e, r) for e, r in zip(job["examples"], job["rejected"], strict=True) if r and r != e[2]]
        if not given:
            raise ValueError("no example has a wrong answer beside the right one; dpo needs rejected answers, train with sft")
        # places as names: a row may be there more than once
        right, _ = encode(setting.tokenizer, [(str(i), e[1], e[2]) for i, (e, _) in enumerate(given)], setting.max_length)
        wrong, _ = encode(setting.tokenizer, [(str(i), e[1], r) for i, (e, r) in enumerate(given)], setting.max_length)
        rejected = {e.id: e for e in wrong}
        pairs = [(e, rejected[e.id]) for e in right if e.id in rejected]
        if not pairs:
            raise ValueError(f"no pair of answers fits max_length = {setting.max_length}; raise it or take shorter examples")
        rows = [{"prompt_ids": list(e.prompt), "chosen_ids": list(e.answer), "rejected_ids": list(r.answer)} for e, r in pairs]
        counted = Rows([len(side) for pair in pairs for side in pair])
        tokens = sum(counted.lengths)
        return Material(rows, len(given) - len(pairs), tokens / len(pairs), counted, len(job["examples"]) - len(given))

    def layout(self, setting: Setting, material: Material) -> str:
        """TRL pads."""
        return "Padded"

    def trainer(self, setting: Setting, material: Material, model: Any, common: dict[str, Any]) -> Any:
        """Make TRL's trainer on rows that are tokens already."""
        from datasets import Dataset
        from trl import DPOTrainer

        class TokenDpo(DPOTrainer):  # type: ignore[misc]
            """Takes token ids as they are, so that training sees what scoring sees."""

            def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
                return dataset

        # an adapter's reference is a copy of the adapter, which TRL makes itself
        reference = None if hasattr(model, "peft_config") else copy.deepcopy(model).requires_grad_(False)
        trainer = TokenDpo(model=model, ref_model=reference, train_dataset=Dataset.from_list(material.rows), **common)
        for name, parameter in model.named_parameters():
            if ".ref." in name:
                parameter.requires_grad_(False)
        return trainer

    def watch(self) -> Any:
        """Watch the loss."""
        return watched_loss()
