"""Train a LoRA adapter on the worked examples for a share of the time, measure it, hand it in."""

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dojo_tool
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

PARAMS = json.loads(os.environ["DOJO_AGENT_PARAMS"])
OUT = Path.cwd() / "adapter"


def time_left(api: Any, task: dict[str, Any]) -> tuple[float, Callable[[], float]]:
    """Return the seconds until the run ends and the clock that counts them: that of this program's CPU time or the wall's."""
    left = {name: float(line["left"]) for name, line in api.budget().items() if line["left"] is not None}
    wall = min(left["wall"], left.get("gpu", math.inf) / max(1, task["limits"]["gpus"]))
    if left.get("cpu", math.inf) / task["limits"]["cpus"] < wall:
        return left["cpu"], time.process_time
    return wall, time.monotonic


def train(base: str, examples: list[dict[str, Any]], seconds: float, clock: Callable[[], float]) -> None:
    """Train on one example a step until the time is over, and save the adapter."""
    torch.manual_seed(int(os.environ["DOJO_SEED"]))
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=PARAMS["learning_rate"])
    ends, step = clock() + seconds, 0
    while step == 0 or clock() < ends:
        example = examples[step % len(examples)]
        chat = [{"role": "user", "content": example["prompt"]}]
        text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        asked = tokenizer(text, add_special_tokens=False)["input_ids"]
        answered = [*tokenizer(example["answer"], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        labels = torch.tensor([[-100] * len(asked) + answered])  # learn the answer, not the question
        loss = model(input_ids=torch.tensor([asked + answered]), labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        print(f"step {step} loss {loss.item():.3f}", flush=True)
    model.save_pretrained(OUT)


def main() -> None:
    """Hand in the base model, train, and hand in what came of it."""
    api = dojo_tool.Client()
    task = api.task()
    base = Path.cwd() / "base"
    base.mkdir(exist_ok=True)
    (base / "dojo.json").write_text(json.dumps({"dojo": "base"}), encoding="utf-8")
    api.submit(str(base), note="a valid submission first")
    seconds, clock = time_left(api, task)
    train(task["base_model"]["path"], task["examples"], PARAMS["share"] * seconds, clock)
    report = api.validate(str(OUT))
    if not report["ok"]:
        raise SystemExit(f"not a valid submission: {report['problems']}")
    if api.budget()["evaluations"]["left"]:
        print("dev:", api.evaluate(str(OUT), note="trained on the examples")["primary"])
    api.submit(str(OUT), note="LoRA on the worked examples")


if __name__ == "__main__":
    main()
