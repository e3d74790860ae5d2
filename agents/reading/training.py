"""One LoRA adapter for a stint with TRL, on a model that may stay loaded for the next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reading.cards import Card, card_here
from reading.fitting import Fit, Rows, fit_rows, how_trained, row_lengths
from reading.memory import Shape
from reading.pace import Progress, Stint
from reading.packing import IGNORED, Packed
from reading.speed import Done, length_met, speed_of

# The rate rises over this share of the time and falls to this share of itself by the end.
WARM_SHARE, LAST_SHARE = 0.05, 0.02
# TRL's loss goes over the answers' tokens in parts of 256, and for the entropy that it tells has four copies of their logits at
# once where other losses have three.
SCORED_AT_ONCE = 256 * 4 // 3


def load_model(path: str) -> tuple[Any, Any]:
    """Return the base model and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    card = card_here()
    dtype = torch.bfloat16 if card and card.bf16 else torch.float32
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
    fit: Fit | None = None,
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
        fit: how a batch is computed; None: whole and padded, and on a GPU as its free memory and the rows' lengths have it.
    """
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from torch.optim.lr_scheduler import LambdaLR
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    rank, card = int(settings["rank"]), card_here()
    progress = Progress(stint)
    if fit is None:
        fit = Fit(int(settings["batch_size"]), 1, False, 0)
        if card is not None:
            torch.cuda.reset_peak_memory_stats()
            fit = fit_on_card(card, model.config, row_lengths(pairs, tokenizer, int(settings["max_length"])), settings)
            print(f"{fit}; {card.free / 1e9:.1f} GB are free", flush=True)

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
        per_device_train_batch_size=fit.at_once,
        gradient_accumulation_steps=fit.passes,
        learning_rate=float(settings["learning_rate"]),
        max_length=int(settings["max_length"]),
        completion_only_loss=True,
        gradient_checkpointing=fit.checkpointing,
        bf16=card is not None and card.bf16,
        use_cpu=card is None,
        include_num_input_tokens_seen="non_padding",
        save_strategy="no",
        report_to="none",
        logging_steps=10,
        seed=seed,
        disable_tqdm=True,
    )
    messages = [
        {"prompt": [{"role": "user", "content": p}], "completion": [{"role": "assistant", "content": a}]} for p, a in pairs
    ]
    trainer: Any = SFTTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(messages),
        processing_class=tokenizer,
        data_collator=Packed(_pad(tokenizer)) if fit.packed else None,
        peft_config=LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[Clock()],
    )
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, fused=True if card else None)
    trainer.optimizer = optimizer

    def rate(_: int) -> float:
        done = progress.share()
        return min(1.0, (done + 0.01) / WARM_SHARE) * (1.0 - (1.0 - LAST_SHARE) * done)

    trainer.lr_scheduler = LambdaLR(optimizer, rate)
    done = trainer.train()
    print(_speed(trainer, done.metrics["train_runtime"], fit, rank, card), flush=True)
    trainer.model.save_pretrained(str(out))
    bare = trainer.model.unload()
    # the trainer lays its own forward over the model's; the next adapter wants the model's own
    bare.__dict__.pop("forward", None)
    return bare


def fit_on_card(card: Card, config: Any, lengths: Sequence[int], settings: dict[str, Any]) -> Fit:
    """Return how a batch of rows of these lengths fits into what is free on a card.

    Of a model whose memory cannot be counted the batch is as it was asked for, padded, with checkpointing.

    Raises:
        ValueError: not even one row fits.
    """
    batch, rank = int(settings["batch_size"]), int(settings["rank"])
    shape = _shape(config)
    if shape is None:
        return Fit(batch, 1, True, 0)
    rows = Rows(lengths, most_scored=SCORED_AT_ONCE)
    return fit_rows(shape, how_trained(rank, bf16=card.bf16), rows, batch=batch, free=card.free)


def _speed(trainer: Any, seconds: float, fit: Fit, rank: int, card: Card | None) -> str:
    import torch

    lengths = [len(ids) for ids in trainer.train_dataset["input_ids"]]
    answers = sum(sum(label != IGNORED for label in labels) for labels in trainer.train_dataset["labels"])
    tokens = float(trainer.state.num_input_tokens_seen)
    if fit.packed:
        # what fills up a packed row may be the token that ends an answer, so rows are counted and not tokens
        tokens = trainer.state.global_step * fit.at_once * fit.passes * sum(lengths) / len(lengths)
    peak = torch.cuda.max_memory_allocated() if card else 0
    done = Done(tokens, seconds, length_met(lengths), answers / sum(lengths), peak, fit.peak)
    return speed_of(_shape(trainer.model.config), card, done, rank=rank)


def _shape(config: Any) -> Shape | None:
    try:
        return Shape.of(config.to_dict())
    except ValueError:
        return None


def _pad(tokenizer: Any) -> int:
    return int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)
