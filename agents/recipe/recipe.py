"""The scripted expert: clean the sources, train one LoRA adapter for a fixed share of the time, hand it in."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import dojo_tool
from source_rows.rows import Row, is_number, layout_of, learn_answer_form, learn_prompt_form, normal, parse_source, read_jsonl

WORK = Path.cwd()  # /workspace
# Kept back from training for saving, checking and handing in.
RESERVE_SHARE, RESERVE_S = 0.05, 10.0


def clean(rows: list[Row], golds: list[str], leaks: set[str]) -> list[Row]:
    """Drop rows without question or answer, of another answer kind, seen twice with different answers, or shown as examples."""
    numeric = bool(golds) and all(is_number(g) for g in golds)
    rows = [r for r in rows if r.prompt and r.value and normal(r.prompt) not in leaks and (not numeric or is_number(r.value))]
    votes: dict[str, Counter[str]] = {}
    for r in rows:
        votes.setdefault(normal(r.prompt), Counter())[r.value] += 1
    kept: dict[str, Row] = {}
    for r in rows:
        ranked = votes[normal(r.prompt)].most_common(2)
        if r.value == ranked[0][0] and (len(ranked) == 1 or ranked[0][1] > ranked[1][1]):
            kept.setdefault(normal(r.prompt), r)
    return list(kept.values())


def build_dataset(task: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """Return prompt/completion messages from every source, balanced over sources by shuffling, capped as the task rules."""
    few = read_jsonl(Path(task["data"]["path"]) / "few_shot.jsonl") or list(task["examples"])
    form, prompts = learn_answer_form(few, task["answer_format"]), learn_prompt_form(few)
    golds = [str(e["gold"]) for e in few if "gold" in e]
    layout = layout_of(few, form)
    rows: list[Row] = []
    for source in task["data"]["sources"]:
        rows += parse_source(Path(source["path"]), key=form.key, subsets=[s["name"] for s in task["subsets"]], layout=layout)
    kept = clean(rows, golds, {normal(str(e["prompt"])) for e in few})
    random.Random(seed).shuffle(kept)
    print(f"recipe: {len(rows)} rows read, {len(kept)} kept; answers are {form}", flush=True)
    return [
        {
            "prompt": [{"role": "user", "content": prompts.write(r.prompt)}],
            "completion": [{"role": "assistant", "content": form.write(r.value)}],
        }
        for r in kept[: int(task["max_train_samples"])]
    ]


def train(task: dict[str, Any], data: list[dict[str, Any]], params: dict[str, Any], seconds: float, seed: int, out: Path) -> None:
    """Train a LoRA adapter for ``seconds`` with a schedule that follows the clock, so that it always decays to the end."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from torch.optim.lr_scheduler import LambdaLR
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    cuda = torch.cuda.is_available()
    base = task["base_model"]["path"]
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16 if cuda else torch.float32)
    begun = time.monotonic()

    def spent() -> float:
        return min(1.0, (time.monotonic() - begun) / seconds)

    class Clock(TrainerCallback):
        """Stops when the time is used up."""

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            print(f"recipe: training begins, {seconds - (time.monotonic() - begun):.0f} s left", flush=True)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            control.should_training_stop = spent() >= 1.0
            return control

    config = SFTConfig(
        output_dir=str(WORK / "trainer"),
        max_steps=10**6,
        per_device_train_batch_size=int(params["batch_size"]),
        learning_rate=float(params["learning_rate"]),
        max_length=int(params["max_length"]),
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
    rank = int(params["rank"])
    lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(data),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[Clock()],
    )
    optimizer = torch.optim.AdamW((p for p in trainer.model.parameters() if p.requires_grad), lr=config.learning_rate)
    warm = 0.05
    trainer.optimizer = optimizer
    trainer.lr_scheduler = LambdaLR(optimizer, lambda _: min(1.0, (spent() + 0.01) / warm) * (1.0 - 0.98 * spent()))
    trainer.train()
    trainer.model.save_pretrained(str(out))


def main() -> None:
    """Do the run: base model first, then the recipe."""
    api = dojo_tool.Client()
    task = api.task()
    params = json.loads(os.environ.get("DOJO_AGENT_PARAMS") or "{}")
    seed = int(os.environ.get("DOJO_SEED") or 0)
    base = WORK / "base"
    base.mkdir(parents=True, exist_ok=True)
    (base / "dojo.json").write_text(json.dumps({"dojo": "base"}), encoding="utf-8")
    api.submit(str(base), note="the base model, so that a valid submission exists")
    data = build_dataset(task, seed)
    wall = api.budget()["wall"]
    limit, left = float(wall["limit"] or 3600.0), float(wall["left"] or 3600.0)
    seconds = min(limit * float(params["train_share"]), left - max(RESERVE_S, RESERVE_SHARE * limit) - 15.0)
    if seconds < 10 or not data:
        print(f"recipe: {seconds:.0f} s and {len(data)} rows are not enough to train; the base model stays", flush=True)
        return
    adapter = WORK / "adapter"
    api.note(f"recipe: training for {seconds:.0f} s on {len(data)} rows")
    train(task, data, params, seconds, seed, adapter)
    report = api.validate(str(adapter))
    if not report["ok"]:
        raise SystemExit(f"recipe: the adapter does not validate: {report['problems']}")
    api.submit(str(adapter), note="one LoRA recipe on cleaned sources")


if __name__ == "__main__":
    main()
