"""One adapter for so many seconds with TRL, on a model that stays loaded between trials."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any


def warm_model(path: str) -> tuple[Any, Any]:
    """Load the base model and its tokenizer once."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    return AutoModelForCausalLM.from_pretrained(path, dtype=dtype), AutoTokenizer.from_pretrained(path)


def train_adapter(
    model: Any, tokenizer: Any, data: list[tuple[str, str]], settings: dict[str, Any], *, seconds: float, seed: int, out: Path
) -> Any:
    """Train and save a LoRA adapter; the rate follows the clock down to nothing after ``seconds``. Returns the bare model."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from torch.optim.lr_scheduler import LambdaLR
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    cuda = torch.cuda.is_available()
    begun = time.monotonic()

    def spent() -> float:
        return min(1.0, (time.monotonic() - begun) / seconds)

    class Clock(TrainerCallback):
        """Stops when the time is used up."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            control.should_training_stop = spent() >= 1.0
            return control

    config = SFTConfig(
        output_dir=str(out.parent / "trainer"),
        max_steps=10**6,
        per_device_train_batch_size=int(settings["batch_size"]),
        learning_rate=float(settings["learning_rate"]),
        max_length=int(settings["max_length"]),
        completion_only_loss=True,
        gradient_checkpointing=False,
        bf16=cuda,
        use_cpu=not cuda,
        save_strategy="no",
        report_to="none",
        logging_steps=20,
        seed=seed,
        disable_tqdm=True,
    )
    messages = [
        {"prompt": [{"role": "user", "content": p}], "completion": [{"role": "assistant", "content": a}]} for p, a in data
    ]
    rank = int(settings["rank"])
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(messages),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[Clock()],
    )
    optimizer = torch.optim.AdamW((p for p in trainer.model.parameters() if p.requires_grad), lr=config.learning_rate)
    trainer.optimizer = optimizer
    trainer.lr_scheduler = LambdaLR(optimizer, lambda _: min(1.0, (spent() + 0.01) / 0.05) * (1.0 - 0.98 * spent()))
    trainer.train()
    trainer.model.save_pretrained(str(out))
    bare = trainer.model.unload()
    # the trainer lays its own forward over the model's; the next trial wants the model's own
    bare.__dict__.pop("forward", None)
    return bare
