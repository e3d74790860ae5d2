"""Models with what training leaves beside them: left out and never read."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.unit.grading.shapes import adapters, full
from tests.unit.grading.shapes.bench import Bench
from tests.unit.grading.shapes.shape import Make, Shape


class Trap:
    """A pickle that fails whoever loads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise AssertionError('a pickle was loaded')",)


TRAP = pickle.dumps(Trap())


def with_files(make: Make, files: Mapping[str, bytes]) -> Make:
    def made(bench: Bench, folder: Path) -> Any:
        found = make(bench, folder)
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return found

    return made


def trainer(bench: Bench, model: Any, folder: Path) -> Any:
    """A Trainer that has taken two steps, with a checkpoint of each."""
    import torch
    from transformers import Trainer, TrainingArguments

    rows = [{"input_ids": torch.arange(5, 13), "labels": torch.arange(5, 13)} for _ in range(2)]
    settings = TrainingArguments(
        str(folder),
        max_steps=2,
        save_steps=1,
        learning_rate=1e-3,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        per_device_train_batch_size=1,
    )
    made = Trainer(model=model, args=settings, train_dataset=rows)
    made.train()
    return made


def saved_by_trainer(lora: bool) -> Make:
    def make(bench: Bench, folder: Path) -> Any:
        made = trainer(bench, bench.lora() if lora else bench.model(), folder)
        made.save_model()
        assert (folder / "training_args.bin").is_file() and (folder / "checkpoint-1").is_dir()
        return bench.logits(made.model)

    return make


def checkpoint(lora: bool) -> Make:
    def make(bench: Bench, folder: Path) -> Any:
        made = trainer(bench, bench.lora() if lora else bench.model(), bench.folder / f"run-{lora}")
        (bench.folder / f"run-{lora}" / "checkpoint-2").rename(folder)
        assert {"optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "training_args.bin"} <= {
            path.name for path in folder.iterdir()
        }
        return bench.logits(made.model)

    return make


def state_of_accelerate(bench: Bench, folder: Path) -> Any:
    import torch
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model, _ = accelerator.prepare(trained := bench.trained(), torch.optim.AdamW(trained.parameters()))
    accelerator.save_state(str(folder))
    bench.copy_config(folder)
    assert {"model.safetensors", "optimizer.bin", "random_states_0.pkl"} <= {path.name for path in folder.iterdir()}
    return bench.logits(model)


DEEPSPEED = {
    "zero_to_fp32.py": b"raise SystemExit",
    "latest": b"global_step2",
    "rng_state_0.pth": TRAP,
    "scheduler.pt": TRAP,
    "global_step2/zero_pp_rank_0_mp_rank_00_optim_states.pt": TRAP,
    "training_args.bin": TRAP,
    "trainer_state.json": b"{",
}
LOGS = {
    "runs/Nov28/events.out.tfevents.1": TRAP,
    "events.out.tfevents.2": TRAP,
    "wandb/run-1/run-1.wandb": TRAP,
    "train.log": b"\xff",
    "all_results.json": b"{",
    "train_results.json": b"{",
    "trainer_log.jsonl": b"{",
    "README.md": b"# mine",
}
ACCELERATE = {
    "optimizer.bin": TRAP,
    "scheduler.bin": TRAP,
    "sampler.bin": TRAP,
    "random_states_0.pkl": TRAP,
    "custom_checkpoint_0.pkl": TRAP,
    "pytorch_model_fsdp_0/__0_0.distcp": TRAP,
    "optimizer_0/__0_0.distcp": TRAP,
}

BESIDE = (
    Shape(
        "`trainer.save_model()` of an adapter, checkpoints beside it",
        saved_by_trainer(True),
        said=("checkpoint-1/", "training_args"),
    ),
    Shape(
        "`trainer.save_model()` of full weights, checkpoints beside them", saved_by_trainer(False), said=("training_args.bin",)
    ),
    Shape(
        "a Trainer's `checkpoint-2` of an adapter", checkpoint(True), said=("optimizer.pt", "rng_state.pth", "trainer_state.json")
    ),
    Shape("a Trainer's `checkpoint-2` of full weights", checkpoint(False), said=("optimizer.pt", "scheduler.pt")),
    Shape(
        "accelerate's `save_state()` with the base's `config.json`",
        state_of_accelerate,
        said=("optimizer.bin", "random_states_0"),
    ),
    Shape(
        "an adapter with accelerate's and FSDP's states",
        with_files(adapters.saved(), ACCELERATE),
        said=("sampler.bin", "fsdp_0/"),
    ),
    Shape(
        "full weights with DeepSpeed's states and `zero_to_fp32.py`",
        with_files(full.saved(), DEEPSPEED),
        said=("zero_to_fp32.py", "global_step2/"),
    ),
    Shape(
        "an adapter with logs, results and a card", with_files(adapters.saved(), LOGS), said=("events.out.tfevents.2", "wandb/")
    ),
    Shape(
        "an adapter with a tokenizer, a chat template and generation settings",
        with_files(adapters.saved(), dict.fromkeys(("tokenizer.json", "chat_template.jinja", "generation_config.json"), b"{")),
        said=("tokenizer.json ignored", "chat_template.jinja ignored", "generation_config.json ignored"),
    ),
    Shape(
        "the base model's marker with `training_args.bin`",
        with_files(full.marker, {"training_args.bin": TRAP}),
        said=("training_args.bin",),
    ),
)
