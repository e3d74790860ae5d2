"""What one evaluation costs: our warm grader against plain `lm_eval.simple_evaluate` on the same items, with the same answers.

    python benchmarks/scoring.py [--task math/aime25] [--items 64] [--rounds 2] [--json FILE]

Plain is lm-eval in its ordinary way: `model="hf"` with a path, the task's YAML on a JSON file, its own generation loop. Ours is
what `evaluate` does in a run: a submission checked, put into the warm model, scored through `simple_evaluate`, and taken out.
Both run in turn in this process; CPU seconds and wall seconds of each are printed, medians over rounds. Process start (8 s of
imports for lm-eval and transformers) is paid once before and counted for neither, although plain use pays it every time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Timed = tuple[float, float, Any]


def timed(call: Callable[[], Any]) -> Timed:
    wall, cpu = time.perf_counter(), time.process_time()
    value = call()
    return time.perf_counter() - wall, time.process_time() - cpu, value


def plain_lm_eval(task_dir: Path, model: Path, items: list[dict[str, Any]], generation: Any, folder: Path) -> dict[str, str]:
    """Score ``items`` with nothing but lm-eval; return item id → response."""
    import lm_eval
    import torch
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._yaml_loader import load_yaml

    data = folder / "items.jsonl"
    texts = [
        {"id": i["id"], "prompt": i["prompt"], "gold": str(i["gold"]), "row": json.dumps(i["row"]), **_names(i)} for i in items
    ]
    data.write_text("".join(json.dumps(t) + "\n" for t in texts), encoding="utf-8")
    config = load_yaml(task_dir / "tests" / "task.yaml", resolve_func=True)
    config["dataset_path"], config["dataset_kwargs"] = "json", {"data_files": {"test": str(data)}}
    results = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(model), "dtype": "float32", "max_length": generation.max_context},
        tasks=[config],
        batch_size=generation.batch_size,
        device="cuda" if torch.cuda.is_available() else "cpu",
        task_manager=TaskManager(include_path=str(task_dir / "tests"), include_defaults=False),
        apply_chat_template=True,
        gen_kwargs={"max_gen_toks": generation.max_new_tokens},
        bootstrap_iters=0,
        log_samples=True,
    )
    assert results is not None
    return {s["doc"]["id"]: s["filtered_resps"][0] for s in results["samples"][config["task"]]}


def _names(item: dict[str, Any]) -> dict[str, str]:
    return {name: item[name] for name in ("subset", "type")}


def measure(task_id: str, count: int, rounds: int) -> dict[str, Any]:
    from harness.assets.base_models import find_base_model
    from harness.assets.prepare import prepare_task
    from harness.assets.task_dir import find_task
    from harness.grading.submission.check import read_submission
    from harness.grading.worker import main as worker
    from harness.grading.worker.lm_task import import_lm_eval, score_items
    from harness.grading.worker.warm_model import WarmModel
    from harness.taskkit.scoring.contract import load_grader

    worker.prepare_process()
    import_lm_eval()
    cache = Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache/dojo")
    task = find_task(task_id)
    profile = task.dojo.profiles["mini"]
    model = find_base_model(profile.base_model, cache)
    prepared = prepare_task(task, "mini", cache)
    items = [json.loads(line) for line in prepared.dev_path.read_text(encoding="utf-8").splitlines()][:count]
    grader = load_grader(task.path)
    load_wall, load_cpu, warm = timed(lambda: WarmModel(model.path))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "submission").mkdir()
        (folder / "submission" / "dojo.json").write_text('{"dojo": "base"}', encoding="ascii")

        def ours() -> dict[str, str]:
            submission = read_submission(folder / "submission", warm.files)
            with warm.loaded(submission):
                return score_items(warm, grader, items, [], profile.generation, lambda *_: None).responses

        def plain() -> dict[str, str]:
            return plain_lm_eval(task.path, model.path, items, profile.generation, folder)

        runs: dict[str, list[Timed]] = {"ours": [], "plain": []}
        for _ in range(rounds):
            runs["plain"].append(timed(plain))
            runs["ours"].append(timed(ours))
    theirs, mine = runs["plain"][0][2], runs["ours"][0][2]
    same = sum(theirs[i["id"]] == mine[i["id"]] for i in items)
    wall, cpu = ({k: statistics.median(run[place] for run in v) for k, v in runs.items()} for place in (0, 1))
    return {
        "benchmark": "scoring",
        "what": "one evaluation in the warm grader against plain lm_eval.simple_evaluate, medians, seconds",
        "task": task_id,
        "items": len(items),
        "rounds": rounds,
        "generation": profile.generation.model_dump(),
        "same_answers": same,
        "plain_cpu_s": cpu["plain"],
        "ours_cpu_s": cpu["ours"],
        "plain_wall_s": wall["plain"],
        "ours_wall_s": wall["ours"],
        "loading_the_warm_model_once_s": load_wall,
        "loading_the_warm_model_once_cpu_s": load_cpu,
        "ratio": cpu["ours"] / cpu["plain"],
        "ratio_wall": wall["ours"] / wall["plain"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--task", default="math/aime25")
    parser.add_argument("--items", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    found = measure(args.task, args.items, args.rounds)
    print(
        f"{found['items']} items: ours {found['ours_cpu_s']:.1f} CPU s, plain lm-eval {found['plain_cpu_s']:.1f} CPU s, "
        f"ratio {found['ratio']:.2f} (wall {found['ratio_wall']:.2f}); {found['same_answers']} of {found['items']} answers equal"
    )
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
