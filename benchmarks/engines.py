"""The grader's two engines on the same items: equal answers, why others differ, seconds; and plain `lm_eval` on vLLM beside ours.

    DOJO_VLLM_PYTHON=$(scripts/vllm_cpu.sh) python benchmarks/engines.py [--task ID …] [--items 16] [--json FILE]

Each task's first dev items are answered and scored by the worker's own code, once by each engine, both in float32 on a CPU. Where
two answers to an item differ, transformers computes the log-probabilities of the two first tokens that differ, after all that was
the same before: a difference below `TIE` is a near tie that rounding may decide either way. Seconds are of scoring alone; loading
is told apart. Plain lm-eval scores the items of the task that ``--plain`` names at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Log-probabilities of float32 models computed by two libraries differ by up to 1e-4 here; ten times that is a tie.
TIE = 1e-3


class Recorded:
    """An engine whose prompts and continuations are kept."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.pairs: dict[tuple[int, ...], Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def answer(self, prompts: Sequence[list[int]], **more: Any) -> Any:
        answers = self._engine.answer(prompts, **more)
        self.pairs |= {tuple(p): a for p, a in zip(prompts, answers, strict=True)}
        return answers


def scored(engine: Any, submission_dir: Path, task: Any, items: list[dict[str, Any]], generation: Any) -> dict[str, Any]:
    """Score items once; return seconds, answers by prompt, and the score."""
    from harness.grading.submission.check import read_submission
    from harness.grading.worker.lm_task import score_items
    from harness.taskkit.scoring.contract import load_grader
    from harness.taskkit.scoring.scores import aggregate

    grader, kept, begun = load_grader(task.path), Recorded(engine), time.perf_counter()
    submission = read_submission(submission_dir, engine.files)
    assert submission.report.ok, submission.report.problems
    with engine.loaded(submission):
        found = score_items(kept, grader, items, [], generation, lambda *_: None)
        record = engine.record().words
    seconds = time.perf_counter() - begun
    score = aggregate(found.items, grader, task.dojo.metric.name, {i["id"]: i["row"] for i in items}).primary.value
    return {"seconds": seconds, "pairs": kept.pairs, "score": score, "engine": record, "responses": found.responses}


def difference(model: Any, prompt: tuple[int, ...], one: Any, other: Any, end: int) -> dict[str, Any]:
    """Say at which token two answers part, and how far apart transformers sees the two tokens there."""
    import torch

    a, b = ([*c.tokens, *([end] if c.ended else [])] for c in (one, other))
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    if at == min(len(a), len(b)):
        return {"token": at, "gap": None, "tie": False}
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*prompt, *a[:at]]]), logits_to_keep=1).logits[0, -1]
    logp = torch.log_softmax(logits.double(), dim=-1)
    gap = float(logp[a[at]] - logp[b[at]])
    return {"token": at, "logp": [float(logp[a[at]]), float(logp[b[at]])], "gap": gap, "tie": abs(gap) < TIE}


def compare(warm: Any, vllm: Any, task: Any, items: list[dict[str, Any]], submission: Path) -> dict[str, Any]:
    """Score one task's items by both engines."""
    from harness.grading.worker.lm import stop_tokens

    generation = task.dojo.profiles["mini"].generation
    first, second = (scored(engine, submission, task, items, generation) for engine in (warm, vllm))
    end = min(stop_tokens(warm))
    with warm.loaded(_submission(submission, warm)):
        parted = [
            difference(warm.model, prompt, one, second["pairs"][prompt], end)
            for prompt, one in first["pairs"].items()
            if one != second["pairs"][prompt]
        ]
    return {
        "task": task.id,
        "items": len(items),
        "prompts": len(first["pairs"]),
        "tokens": sum(len(c.tokens) for c in first["pairs"].values()),
        "equal": len(first["pairs"]) - len(parted),
        "differences": parted,
        "transformers_s": first["seconds"],
        "vllm_s": second["seconds"],
        "scores": [first["score"], second["score"]],
        "engines": [first["engine"], second["engine"]],
        "responses": second["responses"],
    }


def _submission(folder: Path, engine: Any) -> Any:
    from harness.grading.submission.check import read_submission

    return read_submission(folder, engine.files)


def plain(python: str, task: Any, model: Path, items: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Let plain lm-eval on vLLM answer the items in a process of its own."""
    import lm_eval

    generation, data, answer = task.dojo.profiles["mini"].generation, folder / "items.jsonl", folder / "answer.json"
    names = ("id", "prompt", "subset", "type")
    rows = [{**{n: i[n] for n in names}, "gold": str(i["gold"]), "row": json.dumps(i["row"])} for i in items]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    told = {
        "libraries": str(Path(lm_eval.__file__).parents[1]),
        "tests": str(task.path / "tests"),
        "items": str(data),
        "answer": str(answer),
        "model": str(model),
        "max_context": generation.max_context,
        "max_new_tokens": generation.max_new_tokens,
    }
    script = Path(__file__).parent / "rivals" / "lm_eval_vllm.py"
    env = {
        **os.environ,
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "HOME": str(folder),
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
    }
    begun = time.perf_counter()
    with (folder / "log").open("wb") as log:
        done = subprocess.run(
            [python, str(script)], input=json.dumps(told).encode(), env=env, stdout=log, stderr=log, check=False
        )
    if done.returncode:
        raise RuntimeError(f"plain lm-eval failed: {(folder / 'log').read_text(errors='replace')[-2000:]}")
    return {**json.loads(answer.read_bytes()), "whole_s": time.perf_counter() - begun}


def beside_plain(
    python: str, model: Path, folder: Path, task: Any, items: list[dict[str, Any]], ours_s: float, responses: dict[str, str]
) -> dict[str, Any]:
    """Return plain lm-eval's seconds beside ours on the same items, and print them."""
    found = plain(python, task, model, items, folder)
    theirs = found.pop("answers")
    found |= {"task": task.id, "ours_s": ours_s, "ratio": ours_s / found["scoring_s"]}
    found["equal"] = sum(theirs[i["id"]] == responses[i["id"]] for i in items)
    print(
        f"plain lm_eval on vLLM, {task.id}: {found['scoring_s']:.1f} s after {found['loading_s']:.1f} s of loading; "
        f"ours to plain {found['ratio']:.2f}, {found['equal']} of {len(items)} answers equal",
        flush=True,
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--task", action="append", metavar="ID", help="default: all with a mini profile")
    parser.add_argument("--items", type=int, default=16)
    parser.add_argument("--submission", type=Path, metavar="FOLDER", help="default: the base model")
    parser.add_argument("--plain", default="math/aime25", metavar="ID", help="of these items plain lm-eval's time is taken too")
    parser.add_argument("--minutes", type=float, default=60.0, help="tasks that would begin later are left out, and said so")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    python = os.environ.get("DOJO_VLLM_PYTHON") or sys.exit(
        "name vLLM's Python in DOJO_VLLM_PYTHON: scripts/vllm_cpu.sh prints one"
    )
    found = measure(args, str(python), time.monotonic() + 60 * args.minutes)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def measure(args: Any, python: str, deadline: float) -> dict[str, Any]:
    """Run all and print a line a task as it comes."""
    from harness.assets.base_models import find_base_model
    from harness.assets.prepare import prepare_task
    from harness.assets.task_dir import find_task, list_tasks
    from harness.grading.worker import main as worker
    from harness.grading.worker.engine import open_engine
    from harness.grading.worker.lm_task import import_lm_eval
    from harness.spec.errors import DojoError

    worker.prepare_process()
    import_lm_eval()
    cache = Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache/dojo")
    tasks = [find_task(name) for name in args.task] if args.task else [t for t in list_tasks() if "mini" in t.dojo.profiles]
    tasks.sort(key=lambda task: task.id != args.plain)
    model = find_base_model("smol", cache)
    rows, left_out, beside, asked = [], [], {}, None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "base").mkdir()
        (folder / "base" / "dojo.json").write_text('{"dojo": "base"}', encoding="ascii")
        warm, vllm = (open_engine(e, model.path, python, folder / "scratch") for e in ("transformers", "vllm"))
        begun = time.perf_counter()
        vllm.warm_up(1536, 32)
        loading = time.perf_counter() - begun
        print(f"vLLM is up after {loading:.1f} s", flush=True)
        for task in tasks:
            if time.monotonic() > deadline:
                left_out.append(task.id)
                continue
            try:
                prepared = prepare_task(task, "mini", cache)
            except DojoError as exc:
                left_out.append(f"{task.id} ({exc.message})")
                continue
            items = [json.loads(line) for line in prepared.dev_path.read_text(encoding="utf-8").splitlines()][: args.items]
            row = compare(warm, vllm, task, items, args.submission or folder / "base")
            responses = row.pop("responses")
            rows.append(row)
            print(line(row), flush=True)
            if task.id == args.plain and args.submission is None:
                asked = (task, items, row["vllm_s"], responses)
        vllm.close()
        if asked is not None:  # last, with the machine to itself as far as we go
            beside = beside_plain(python, model.path, folder, *asked)
    total, equal = sum(r["prompts"] for r in rows), sum(r["equal"] for r in rows)
    ties = sum(d["tie"] for r in rows for d in r["differences"])
    print(f"together: {equal} of {total} answers equal ({equal / max(1, total):.1%})")
    print(f"of {total - equal} differences {ties} are near ties")
    if left_out:
        print(f"not run: {', '.join(left_out)}")
    return {"benchmark": "engines", "items": args.items, "submission": str(args.submission or "base"), "loading_vllm_s": loading,
            "rows": rows, "equal_share": equal / max(1, total), "plain": beside, "not_run": left_out}  # fmt: skip


def line(row: dict[str, Any]) -> str:
    """Return a task's row of the table."""
    gaps = ", ".join("length" if d["gap"] is None else f"{d['gap']:+.1e}" for d in row["differences"])
    return (
        f"| {row['task']} | {row['equal']} of {row['prompts']} | {gaps or '–'} | {row['tokens']} "
        f"| {row['transformers_s']:.1f} | {row['vllm_s']:.1f} | {row['scores'][0]:.3f} / {row['scores'][1]:.3f} |"
    )


if __name__ == "__main__":
    main()
