"""Group relative policy optimisation: the model's own answers, rewarded where they are right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from reading.fitting import Rows
from reading.rows import AnswerForm

from ft_agent.methods.base import Material, Setting
from ft_agent.methods.reward import reward
from ft_agent.pace import RewardWatch
from ft_agent.packing import encode

# Where a plan names no length: tokens that the model may write for each of the longest known answer, and beside them.
ROOM_FACTOR, ROOM_TOKENS = 2, 16


class Grpo:
    """See the module."""

    def config_class(self) -> Any:
        """Return TRL's class of arguments."""
        from trl import GRPOConfig

        return GRPOConfig

    def defaults(self) -> dict[str, Any]:
        """TRL's own, but for checkpointing."""
        return {"gradient_checkpointing": False}

    def fixed(self) -> dict[str, Any]:
        """Rows come in the order the data recipe gave them."""
        return {"shuffle_dataset": False}

    def read(self, setting: Setting) -> Material:
        """Take the examples whose answer is known and whose prompt leaves room for one."""
        job = setting.job
        known = [(str(i), e[1], e[2], g) for i, (e, g) in enumerate(zip(job["examples"], job["golds"], strict=True)) if g]
        if not known:
            raise ValueError("no example has a bare right answer; grpo rewards by it, train with sft")
        encoded = {e.id: e for e in encode(setting.tokenizer, [k[:3] for k in known], 10**9)[0]}
        # an answer of the model's own may be longer than any known one, but what goes on for long is lost and costs the time
        longest = max((len(e.answer) for e in encoded.values()), default=1)
        written = int(setting.arguments.get("max_completion_length") or ROOM_FACTOR * longest + ROOM_TOKENS)
        room = setting.longest - written
        fit = [(k, encoded[k[0]]) for k in known if k[0] in encoded and len(encoded[k[0]].prompt) <= room]
        if not fit:
            raise ValueError(f"no prompt leaves room for an answer in {setting.longest} tokens; lower max_completion_length")
        rows = [{"prompt": [{"role": "user", "content": k[1]}], "gold": k[3]} for k, _ in fit]
        # a step that cannot fill its groups with prompts would be left out by the trainer
        step = setting.batch * int(setting.arguments.get("gradient_accumulation_steps", 1))
        rows *= math.ceil(step / len(rows))
        mean = sum(len(e) for _, e in fit) / len(fit)
        counted = Rows([len(e.prompt) + written for _, e in fit], [written] * len(fit))
        unused = len(job["examples"]) - len(known)
        return Material(rows, len(known) - len(fit), mean, counted, unused, {"max_completion_length": written})

    def layout(self, setting: Setting, material: Material) -> str:
        """TRL pads."""
        return "Padded"

    def trainer(self, setting: Setting, material: Material, model: Any, common: dict[str, Any]) -> Any:
        """Make TRL's trainer with the task's own form of answers as its judge."""
        from datasets import Dataset
        from trl import GRPOTrainer

        form = AnswerForm(**setting.job["form"])

        def right(completions: list[Any], gold: list[str], **_: Any) -> list[float]:
            return [reward(c[0]["content"], g, form) for c, g in zip(completions, gold, strict=True)]

        return GRPOTrainer(model=model, reward_funcs=right, train_dataset=Dataset.from_list(material.rows), **common)

    def watch(self) -> Any:
        """Watch for NaN and for a reward that is lost again."""
        rewards = RewardWatch()

        def see(loss: float, gradient: float, logs: Mapping[str, Any]) -> str | None:
            return rewards.see(loss, gradient, float(logs.get("reward", 0.0)))

        return see
