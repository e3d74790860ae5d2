"""One LoRA adapter for a stint with TRL, on a model that may stay loaded for the next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reading.pace import Progress, Stint

# The rate rises over this share of the time and falls to this share of itself by the end.
WARM_SHARE, LAST_SHARE = 0.05, 0.02


def load_model(path: str) -> tuple[Any, Any]:
    """Return the base model and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    return AutoModelForCausalLM.from_pretrained(path, dtype=dtype), AutoTokenizer.from_pretrained(path)


def train_adapter(
    model: Any,
    tokenizer: Any,
    pairs: Sequence[tuple[str, str]],
    settings: dict[str, Any],
    *,
    stint: Stint,
    seed: int,
    out: Path,
) -> Any:
    """Train an adapter on (prompt, answer) pairs, loss on answers only, save it in ``out`` and return the bare model.

    The learning rate follows the stint, so it has decayed when that is over, however fast the machine is.

    Args:
        model: the base model; the one returned takes its place.
        tokenizer: its tokenizer.
        pairs: what to train on.
        settings: ``batch_size``, ``learning_rate``, ``max_length`` and ``rank``.
        stint: how long, on which clock; making the data ready counts, loading the model does not.
        seed: of the order and the adapter's first weights.
        out: the adapter's folder; the trainer's own lies beside it.
    """
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from torch.optim.lr_scheduler import LambdaLR
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    cuda = torch.cuda.is_available()
    progress = Progress(stint)

    class Clock(TrainerCallback):  # type: ignore[misc]
        """Says when training begins, and stops it when the stint is over."""

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            print(f"training begins, {progress.left():.0f} {stint['clock']} seconds left", flush=True)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            control.should_training_stop = progress.share() >= 1.0
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
        logging_steps=10,
        seed=seed,
        disable_tqdm=True,
    )
    messages = [
        {"prompt": [{"role": "user", "content": p}], "completion": [{"role": "assistant", "content": a}]} for p, a in pairs
    ]
    rank = int(settings["rank"])
    trainer: Any = SFTTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(messages),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[Clock()],
    )
    optimizer = torch.optim.AdamW((p for p in trainer.model.parameters() if p.requires_grad), lr=config.learning_rate)
    trainer.optimizer = optimizer

    def rate(_: int) -> float:
        done = progress.share()
        return min(1.0, (done + 0.01) / WARM_SHARE) * (1.0 - (1.0 - LAST_SHARE) * done)

    trainer.lr_scheduler = LambdaLR(optimizer, rate)
    trainer.train()
    trainer.model.save_pretrained(str(out))
    bare = trainer.model.unload()
    # the trainer lays its own forward over the model's; the next adapter wants the model's own
    bare.__dict__.pop("forward", None)
    return bare
