"""The scripted expert: clean the sources, train one LoRA adapter for a fixed share of the time, hand it in."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import dojo_tool
from reading.rows import Row, is_number, layout_of, learn_answer_form, learn_prompt_form, normal, parse_source, read_jsonl
from reading.training import load_model, train_adapter

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


def build_dataset(task: dict[str, Any], seed: int) -> list[tuple[str, str]]:
    """Return prompts and answers from every source, balanced over sources by shuffling, capped as the task rules."""
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
    return [(prompts.write(r.prompt), form.write(r.value)) for r in kept[: int(task["max_train_samples"])]]


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
    model, tokenizer = load_model(task["base_model"]["path"])
    train_adapter(model, tokenizer, data, params, seconds=seconds, seed=seed, out=adapter)
    report = api.validate(str(adapter))
    if not report["ok"]:
        raise SystemExit(f"recipe: the adapter does not validate: {report['problems']}")
    api.submit(str(adapter), note="one LoRA recipe on cleaned sources")


if __name__ == "__main__":
    main()
