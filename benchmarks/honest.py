"""Honest fine-tunes through the check of submissions: what provenance measures of each, and how often it raises a false alarm.

    python benchmarks/honest.py --base ~/.cache/dojo/models/smol --work FOLDER [--only TEXT] [--most-steps N]
    python benchmarks/honest.py --table FOLDER

Two shapes are trained: the base model itself, and the same cut to a few layers and trained whole until it works again. Text is
that of this project's docs: one half heals the cut model, the other is what recipes train on. Each recipe is saved as its library
saves it and read as a grader reads it. A line a recipe goes to FOLDER/honest.jsonl when it is done, and what is done is not done
again, so the corpus (hours on one core) may be made in pieces.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.grading.submission.check import check_submission
from harness.project import bundled
from harness.spec.submission import SubmissionReport

CUT_LAYERS = 4
# Without it the cut model is worse than chance (a loss of 18 beside 10.8), and whoever trains it must move it far.
HEAL_STEPS, HEAL_RATE = 400, 1e-3
ROWS, TOKENS = 2, 64
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class Recipe:
    """One honest fine-tune.

    Attributes:
        shape: "whole" or "cut".
        method: "lora", "rslora", "dora", "merged" (LoRA merged into full weights) or "full".
        rank: of an adapter; 0 for full weights.
        rate: AdamW's learning rate, after a warm-up of a tenth of the steps.
        steps: optimiser steps of `ROWS` rows of `TOKENS` tokens.
    """

    shape: str
    method: str
    rank: int
    rate: float
    steps: int

    @property
    def alpha(self) -> int:
        """Of an adapter: twice its rank, or 16 with rsLoRA, as its authors have it."""
        return 16 if self.method == "rslora" else 2 * self.rank

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.shape}-{self.method}-r{self.rank}-{self.rate:g}-{self.steps}"


def recipes() -> tuple[Recipe, ...]:
    """Return the corpus: what careful, hasty and stubborn people do, and nothing that ruins the model on purpose."""
    grid = [
        *(
            Recipe("cut", "lora", rank, rate, steps)
            for rank in (1, 4, 16, 64, 256)
            for rate in (1e-4, 1e-3)
            for steps in (20, 200)
        ),
        *(Recipe("cut", "lora", rank, 3e-3, 200) for rank in (8, 64)),
        *(Recipe("cut", "lora", 16, rate, 2000) for rate in (2e-4, 1e-3)),
        *(Recipe("cut", "rslora", rank, rate, steps) for rank in (16, 256) for rate in (1e-4, 1e-3) for steps in (20, 200)),
        *(Recipe("cut", "dora", 16, rate, steps) for rate in (1e-4, 1e-3) for steps in (20, 200)),
        *(Recipe("cut", "merged", rank, rate, 200) for rank in (16, 64) for rate in (1e-4, 1e-3)),
        *(Recipe("cut", "full", 0, rate, steps) for rate in (2e-5, 1e-4, 5e-4) for steps in (20, 200, 2000)),
        *(Recipe("whole", "lora", rank, rate, steps) for rank in (8, 64) for rate in (2e-4, 1e-3) for steps in (20, 100)),
        *(Recipe("whole", method, 16, 1e-3, 20) for method in ("rslora", "dora", "merged")),
        *(Recipe("whole", "full", 0, rate, steps) for rate in (2e-5, 1e-4) for steps in (20, 100)),
    ]
    return tuple(dict.fromkeys(grid))


def make_cut(base: Path, target: Path, layers: int = CUT_LAYERS, steps: int = HEAL_STEPS) -> Path:
    """Write ``base`` with its first layers only, healed: another shape with weights that were really trained."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    model: Any = AutoModelForCausalLM.from_pretrained(base, num_hidden_layers=layers, dtype="float32")
    _train(model, HEAL_RATE, steps, _batches(tokenizer, 0))
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


def train(recipe: Recipe, base: Path, target: Path) -> tuple[float, float]:
    """Train a recipe and save it to ``target``; return the mean loss of the first and of the last tenth of the steps."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if recipe.method != "full":
        from peft import LoraConfig, get_peft_model

        adapter = LoraConfig(
            r=recipe.rank, lora_alpha=recipe.alpha, target_modules=TARGETS, task_type="CAUSAL_LM",
            use_rslora=recipe.method == "rslora", use_dora=recipe.method == "dora",
        )  # fmt: skip
        model = get_peft_model(model, adapter)
    losses = _train(model, recipe.rate, recipe.steps, _batches(AutoTokenizer.from_pretrained(base), 1))
    if recipe.method == "merged":
        model = model.merge_and_unload()
    model.save_pretrained(target)
    for left in target.glob("README.md"):
        left.unlink()
    tenth = max(1, recipe.steps // 10)
    return sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth


def _train(model: Any, rate: float, steps: int, batches: Iterator[list[list[int]]]) -> list[float]:
    """Train what wants a gradient in place; return the losses."""
    import torch

    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0)
    warm, losses = max(1, steps // 10), []
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / warm)
        ids = torch.tensor(next(batches))
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    return losses


def _batches(tokenizer: Any, half: int) -> Iterator[list[list[int]]]:
    """Yield batches from one half of the docs, again and again."""
    text = "\n\n".join(path.read_text(encoding="utf-8") for path in sorted(bundled("docs").glob("*.md")))
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    rows = [ids[start : start + TOKENS] for start in range(half * len(ids) // 2, (half + 1) * len(ids) // 2 - TOKENS, TOKENS)]
    while True:
        for start in range(0, len(rows) - ROWS + 1, ROWS):
            yield rows[start : start + ROWS]


def measure(recipe: Recipe, base: Path) -> dict[str, Any]:
    """Train a recipe and read it as a grader does; return its line."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dojo-honest-") as folder:
        target = Path(folder) / "submission"
        first, last = train(recipe, base, target)
        trained = time.monotonic()
        report: SubmissionReport = check_submission(target, base)
    return {
        "name": recipe.name,
        **asdict(recipe),
        "loss": [round(first, 3), round(last, 3)],
        "ok": report.ok,
        "problems": [problem.model_dump() for problem in report.problems],
        "provenance": report.provenance.model_dump() if report.provenance else None,
        "train_s": round(trained - started, 1),
        "check_s": round(time.monotonic() - trained, 2),
    }


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Return the corpus as a table in Markdown, with its false alarms counted."""
    head = "| fine-tune | loss | median | nine tenths | largest | norms | taken |\n|---|---|---|---|---|---|---|\n"
    rows = []
    for line in lines:
        found = line["provenance"] or dict.fromkeys(("median", "high", "largest", "vector_largest"), float("nan"))
        figures = " | ".join(f"{found[name]:.3g}" for name in ("median", "high", "largest", "vector_largest"))
        taken = "yes" if line["ok"] else ", ".join(problem["code"] for problem in line["problems"])
        rows.append(f"| {line['name']} | {line['loss'][0]:.2f} → {line['loss'][1]:.2f} | {figures} | {taken} |\n")
    alarms = [line["name"] for line in lines if not line["ok"]]
    share = f"{len(alarms)} of {len(lines)} refused" + (f": {', '.join(alarms)}" if alarms else "")
    return head + "".join(rows) + f"\nFalse alarms: {share}.\n"


def summary(lines: Sequence[dict[str, Any]]) -> str:
    """Return a row a shape and method in Markdown: ranges of the recipes, and the largest of each figure."""
    head = (
        "| shape | fine-tune | how many | ranks | rates | steps | median | nine tenths | largest | norms | refused |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|\n"
    )
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault((line["shape"], line["method"]), []).append(line)
    rows = []
    for (shape, method), group in groups.items():
        of = [_span([line[name] for line in group]) for name in ("rank", "rate", "steps")]
        measured = [line["provenance"] for line in group if line["provenance"]]
        most = [f"{max(found[name] for found in measured):.2g}" for name in ("median", "high", "largest", "vector_largest")]
        refused = sum(not line["ok"] for line in group)
        rows.append(f"| {' | '.join([shape, method, str(len(group)), *of, *most, str(refused)])} |\n")
    return head + "".join(rows)


def _span(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return (f"{low:g}" if low == high else f"{low:g}–{high:g}") if high else "–"


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def main(argv: Sequence[str] | None = None) -> int:
    """Make the corpus, or print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, help="directory of the base model")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="where the cut model and the lines lie")
    parser.add_argument("--only", default="", metavar="TEXT", help="recipes with TEXT in their name")
    parser.add_argument("--most-steps", type=int, default=2000, metavar="N", help="leave longer recipes out")
    parser.add_argument("--table", type=Path, metavar="FOLDER", help="print the tables of a corpus and end")
    options = parser.parse_args(argv)
    if options.table is not None:
        corpus = _read(options.table / "honest.jsonl")
        print(table(corpus))
        print(summary(corpus))
        return 0
    if options.base is None or options.work is None:
        parser.error("--base and --work, or --table")
    out, cut = options.work / "honest.jsonl", options.work / "cut"
    options.work.mkdir(parents=True, exist_ok=True)
    done = {line["name"] for line in _read(out)}
    for recipe in recipes():
        if options.only not in recipe.name or recipe.steps > options.most_steps or recipe.name in done:
            continue
        if recipe.shape == "cut" and not (cut / "config.json").exists():
            making = make_cut(options.base, options.work / "cut.new")
            making.rename(cut)
        line = measure(recipe, cut if recipe.shape == "cut" else options.base)
        with out.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")
        print(f"{recipe.name}: {'taken' if line['ok'] else line['problems']} in {line['train_s']} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
