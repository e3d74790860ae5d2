"""One training run, whatever the method: the clock decides how far it goes, and every loss is looked at."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reading.fitting import Fit
from reading.speed import Done, length_met, speed_of

from ft_agent.methods.base import Material, Method, Setting
from ft_agent.methods.dpo import Dpo
from ft_agent.methods.grpo import Grpo
from ft_agent.methods.sft import Sft
from ft_agent.methods.weights import put_on, save
from ft_agent.on_card import fit_on, rank_of, trained_weights
from ft_agent.pace import Pace

METHODS: dict[str, Callable[[], Method]] = {"sft": Sft, "dpo": Dpo, "grpo": Grpo}


def schemas() -> dict[str, Any]:
    """Return the arguments of every method's trainer, and of the adapter, as plain JSON."""
    from peft import LoraConfig

    from ft_agent.config import schema_of, schema_to_json

    classes = {name: method().config_class() for name, method in METHODS.items()}
    return {name: schema_to_json(schema_of(cls)) for name, cls in {**classes, "lora": LoraConfig}.items()}


def train(worker: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Train for the stint that the job gives or ``max_steps``; events ``step`` on the way. Says how it ended in ``end``.

    Args:
        worker: the loaded base model (`ft_agent.worker.Worker`), which is as it was afterwards.
        job: see `ft_agent.train.Trainer.train`.
    """
    from transformers import set_seed

    pace, method = _pace(job), METHODS[job["method"]]()
    set_seed(int(job["seed"]))
    setting = Setting(
        job,
        dict(job["trainer"]),
        worker.tokenizer,
        worker.pad,
        worker.dtype,
        worker.shared_works,
        worker.model.config.max_position_embeddings,
    )
    material = method.read(setting)
    setting, fit = fitted(worker, method, setting, material)
    config = method.config_class()(
        **{**method.defaults(), **material.arguments, **setting.arguments, **method.fixed(), **_owned(worker, job)}
    )
    try:
        model = put_on(worker.model, job["lora"], Path(job["init"]) if job.get("init") else None)
    except Exception:
        worker.renew()
        raise
    try:
        return _run(worker, model, method, setting, material, config, pace, fit)
    finally:
        worker.reset(model)


def fitted(worker: Any, method: Method, setting: Setting, material: Material) -> tuple[Setting, Fit | None]:
    """Return the setting as the card has it, and how that is; on a CPU it stays as it is, and None.

    Of several processes each computes its part of a batch as a model that is not counted would: they must cut it alike, whatever
    else is on their cards.

    Raises:
        ValueError: it does not fit the card; says what is needed.
    """
    card = worker.free_card()
    if card is None:
        return setting, None
    shape = worker.shape if processes() == 1 else None
    asked = (setting.job["method"], setting.arguments, setting.job["lora"], material.counted)
    fit = fit_on(card, shape, *asked, pack=worker.packed_works)
    passes = fit.passes * int(setting.arguments.get("gradient_accumulation_steps", 1))
    cut = {"per_device_train_batch_size": fit.at_once, "gradient_accumulation_steps": passes}
    arguments = {**setting.arguments, **cut, "gradient_checkpointing": fit.checkpointing}
    setting = replace(setting, arguments=arguments, packed=fit.packed)
    # what is short enough is laid out behind its shared opening, which takes less
    return setting, replace(fit, packed=method.layout(setting, material) == "Packed")


def _run(
    worker: Any, model: Any, method: Method, setting: Setting, material: Material, config: Any, pace: Pace, fit: Fit | None
) -> dict[str, Any]:
    from torch.optim.lr_scheduler import LambdaLR
    from transformers.trainer_callback import PrinterCallback

    optimizer = _optimizer(model, config, fused=worker.cuda)
    ending: dict[str, str] = {}
    losses: list[float] = []
    common = {
        "args": config,
        "processing_class": worker.tokenizer,
        "optimizers": (optimizer, LambdaLR(optimizer, lambda _: pace.rate())),
        "callbacks": [_watch(pace, method.watch(), worker.emit, ending, losses)],
    }
    trainer = method.trainer(setting, material, model, common)
    trainer.remove_callback(PrinterCallback)
    set_up = pace.used()
    trainer.train()
    training = (pace.used() - set_up) / _at_full_speed(setting.job)
    if setting.job["out"] and not ending and first_process():
        save(model, Path(setting.job["out"]), worker.dtype)
    seen = pace.steps * setting.batch * config.gradient_accumulation_steps * processes()
    return {
        "end": ending.get("why", "done"),
        "steps": pace.steps,
        "examples": seen,
        "tokens": round(seen * material.mean_tokens),
        "dropped": material.dropped,
        "unused": material.unused,
        "setup": set_up,
        "seconds": pace.used(),
        "per_second": seen / max(1e-6, training),
        "layout": method.layout(setting, material),
        "fit": str(fit) if fit else "",
        "speed": _speed(worker, setting, material, seen, training, fit),
        "mean_tokens": material.mean_tokens,
        "processes": processes(),
        "first_loss": losses[0] if losses else None,
        "last_loss": losses[-1] if losses else None,
    }


def processes() -> int:
    """Return how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def first_process() -> bool:
    """Whether this process is the one that speaks and saves."""
    return int(os.environ.get("RANK", "0")) == 0


def _pace(job: dict[str, Any]) -> Pace:
    start, warm, end = (float(job["schedule"][k]) for k in ("start", "warm", "end"))
    max_steps = int(job["max_steps"]) if job["max_steps"] else None
    return Pace(job["stint"], max_steps, start, warm, end, agree=_agreed if processes() > 1 else float)


def _at_full_speed(job: Mapping[str, Any]) -> float:
    """Return the seconds of the stint's clock in a second on a machine without neighbours."""
    import torch

    return float(torch.get_num_threads()) if job["stint"]["clock"] == "cpu" else 1.0


def _agreed(share: float) -> float:
    """Give every process the first one's share: at different rates their weights would part."""
    import torch

    if not torch.distributed.is_initialized():
        return share
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    said = torch.tensor([share], dtype=torch.float64, device=device)
    torch.distributed.broadcast(said, 0)
    return float(said)


def _owned(worker: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that the loop decides."""
    return {
        "output_dir": str(Path(job["scratch"]) / "trainer"),
        "max_steps": int(job["max_steps"] or 10**6),
        "use_cpu": not worker.cuda,
        "bf16": worker.card is not None and worker.card.bf16,
        "save_strategy": "no",
        "report_to": "none",
        "logging_strategy": "steps",
        "logging_steps": 1,
        # the filter would hide the very thing that is watched for
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "seed": int(job["seed"]),
        "remove_unused_columns": False,
        # rows come in the order the data recipe gave them
        "train_sampling_strategy": "sequential",
        "ddp_backend": None if processes() == 1 else ("nccl" if worker.cuda else "gloo"),
    }


def _speed(worker: Any, setting: Setting, material: Material, seen: int, seconds: float, fit: Fit | None) -> str:
    """Say how fast it was; of a method that does more than learn from its rows, how many operations that took is not counted."""
    import torch

    lengths, scored = list(material.counted.lengths), material.counted.scored
    done = Done(
        tokens=seen * material.mean_tokens,
        seconds=seconds,
        length=length_met(lengths),
        scored=sum(scored) / sum(lengths) if scored else 1.0,
        peak=torch.cuda.max_memory_allocated() if worker.cuda else 0,
        estimated=fit.peak if fit else 0,
    )
    shape, lora = worker.shape if setting.job["method"] == "sft" else None, setting.job["lora"]
    trained = trained_weights(shape, lora) if shape and lora else None
    return speed_of(shape, worker.card, done, rank=rank_of(lora), trained=trained, cards=processes())


def _optimizer(model: Any, config: Any, *, fused: bool) -> Any:
    import torch

    return torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=config.learning_rate,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_epsilon,
        weight_decay=config.weight_decay,
        fused=True if fused else None,
    )


def _watch(pace: Pace, bad: Any, emit: Callable[[dict[str, Any]], None], ending: dict[str, str], losses: list[float]) -> Any:
    """Make the callback that reports each step and stops on time, NaN or divergence (the latter two into ``ending``)."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]
        """See `_watch`."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            """Count the step; stop when the run is done."""
            pace.steps += 1
            control.should_training_stop = pace.share() >= 1.0
            return control

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> Any:
            """Report the loss; stop when it is bad."""
            if "loss" not in (logs or {}):
                return control
            loss, gradient = float(logs["loss"]), float(logs.get("grad_norm", 0.0))
            event = {"event": "step", "step": state.global_step, "loss": loss if math.isfinite(loss) else None}
            event |= {"rate": float(logs.get("learning_rate", 0.0)), "seconds": pace.used()}
            if "reward" in logs:
                event["reward"] = float(logs["reward"])
            emit(event)
            if math.isfinite(loss):
                losses.append(loss)
            why = bad(loss, gradient, logs)
            if why:
                ending["why"] = why
                control.should_training_stop = True
            return control

    return Watch()
