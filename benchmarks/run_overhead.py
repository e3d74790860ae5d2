"""What a whole run costs through dojo beside a bare script that trains and scores with the same recipe on the same machine.

    python benchmarks/run_overhead.py [--task math/aime25] [--wall 120] [--repeats 1] [--json FILE]

The bare script is this file with `--bare`: it calls the functions that the agent `recipe` calls in a plain process, trains for
the same seconds, then scores the adapter on the same hidden items with plain lm-eval and peft. dojo's side is
`dojo submit --agent recipe` from the command's start to its end: sandboxes, API, seal, grader and all. Data and model are
prepared before. The recipe trains by the clock, so `ratio` compares whole wall times, and `step_ratio` what a training step
takes: isolation must not slow training.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
RECIPE = REPO / "agents" / "recipe"
# The share of the wall time that both sides train for: what is left is enough for dojo's start and end, on a busy machine too.
TRAIN_SHARE = 0.7
_STEPS = re.compile(r"'train_steps_per_second': '?([\d.]+)")


def bare(job: dict[str, Any]) -> None:
    """Train and score as somebody without a harness would, in this process."""
    sys.path.insert(0, str(RECIPE.parent))  # what agents share
    os.chdir(job["work"])
    from reading.dataset import read_material
    from reading.pace import Stint
    from reading.training import load_model, train_adapter

    out = Path(job["work"]) / "adapter"
    material = read_material(job["task"])
    data = material.pairs(material.drawn(0))
    stint: Stint = {"clock": "wall", "seconds": job["seconds"], "wall_at_most": job["seconds"]}
    train_adapter(*load_model(job["task"]["base_model"]["path"]), data, job["params"], stint=stint, seed=0, out=out)
    print(json.dumps({"score": plain_score(job, out)}), flush=True)


def plain_score(job: dict[str, Any], adapter: Path) -> float:
    """Score with lm-eval's own Hugging Face model and peft; the mean over sub-sets of the task's own metric."""
    import lm_eval  # type: ignore[import-untyped]
    from datasets import Dataset
    from lm_eval.models.huggingface import HFLM  # type: ignore[import-untyped]
    from lm_eval.tasks import TaskManager  # type: ignore[import-untyped]
    from lm_eval.tasks._yaml_loader import load_yaml  # type: ignore[import-untyped]

    yaml = Path(job["task_dir"]) / "tests" / "task.yaml"
    base = load_yaml(yaml, resolve_func=True)
    for name in ("dataset_path", "dataset_name", "dataset_kwargs", "training_split", "validation_split", "fewshot_split"):
        base.pop(name, None)
    items = [json.loads(line) for line in Path(job["hidden"]).read_text(encoding="utf-8").splitlines()]
    configs = []
    for subset in sorted({item["subset"] for item in items}):
        group = [
            {**item, "row": json.dumps(item["row"]), "gold": str(item["gold"])} for item in items if item["subset"] == subset
        ]
        docs = Dataset.from_list(group)
        limits = {"until": [], "do_sample": False, "max_gen_toks": job["generation"]["max_new_tokens"]}
        configs.append(
            base
            | {"task": f"{base['task']}/{subset}", "custom_dataset": lambda docs=docs, **_: {"test": docs}, "test_split": "test"}
            | {"generation_kwargs": limits, "num_fewshot": 0}
        )
    model = HFLM(
        pretrained=job["base_model"],
        peft=str(adapter),
        dtype="float32",
        device="cpu",
        batch_size=job["generation"]["batch_size"],
    )
    found = lm_eval.simple_evaluate(
        model=model,
        tasks=configs,
        task_manager=TaskManager(include_path=str(yaml.parent), include_defaults=False),
        apply_chat_template=True,
        bootstrap_iters=0,
    )
    return statistics.mean(found["results"][config["task"]]["score,none"] for config in configs)


def run_bare(job: dict[str, Any], env: dict[str, str]) -> dict[str, float]:
    """Time the bare script as a process of its own."""
    with tempfile.TemporaryDirectory() as work:
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, __file__, "--bare", json.dumps({**job, "work": work})], env=env, capture_output=True, text=True
        )
        seconds = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(f"the bare script failed:\n{done.stderr[-3000:]}")
    steps = float(_STEPS.findall(done.stdout)[-1])
    return {"seconds": seconds, "steps_per_s": steps, "score": json.loads(done.stdout.splitlines()[-1])["score"]}


def run_dojo(task: str, wall: float, env: dict[str, str]) -> dict[str, Any]:
    """Time `dojo submit --agent recipe` in a results directory of its own; also say where its time went."""
    with tempfile.TemporaryDirectory() as home:
        command = [
            str(Path(sys.executable).with_name("dojo")),
            "submit",
            "--agent",
            "recipe",
            "--task",
            task,
            "--profile",
            "mini",
        ]
        command += ["--budget", f"wall={wall:g}s,cpu=none", "--agent-param", f"train_share={TRAIN_SHARE}", "--json"]
        started = time.perf_counter()
        done = subprocess.run(command, env=env | {"DOJO_HOME": home}, capture_output=True, text=True, cwd=REPO)
        seconds = time.perf_counter() - started
        if done.returncode != 0:
            sys.exit(f"dojo submit failed with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
        folder = next(Path(home).glob("batches/*/runs/*"))
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        steps = float(_STEPS.findall((folder / "agent.stdout").read_text(encoding="utf-8"))[-1])
    if result["outcome"]["cause"] != "completed" or result["submissions"] != 2:
        sys.exit(f"the recipe did not do its work: {result['outcome']}, {result['submissions']} submissions")
    phases = {phase["state"]: round(phase["seconds"], 2) for phase in result["timeline"] if phase["seconds"] is not None}
    score = result["grade"]["scores"]["primary"]["value"]
    return {"seconds": seconds, "steps_per_s": steps, "score": score, "phases": phases}


def describe_job(task: str, wall: float) -> tuple[dict[str, Any], int]:
    """Prepare data and model; return what the bare script needs, and the CPU threads a run of this task gets."""
    from harness.assets.base_models import prepare_base_model
    from harness.assets.prepare import prepare_task
    from harness.assets.task_dir import find_task
    from harness.spec import load_agent_config

    cache = Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache" / "dojo").resolve()
    found = find_task(task)
    profile = found.dojo.profiles["mini"]
    if profile.generation.fewshot:
        sys.exit(f"{task} is scored with worked examples, which the bare script does not show: choose another task")
    prepared = prepare_task(found, "mini", cache, print)
    model = prepare_base_model(profile.base_model, cache, print)
    params = load_agent_config(RECIPE / "agent.toml").params
    sources = [{"name": s.name, "path": str(s.path), "rows": s.rows} for s in prepared.sources]
    view = {
        "base_model": {"path": str(model.path)},
        "data": {"path": str(prepared.dir), "sources": sources},
        "examples": [],
        "answer_format": found.dojo.answer_format,
        "subsets": [{"name": s.name} for s in found.dojo.subsets],
        "max_train_samples": found.dojo.max_train_samples,
    }
    job = {
        "task": view,
        "params": params,
        "seconds": wall * TRAIN_SHARE,
        "hidden": str(prepared.hidden_path),
        "task_dir": str(found.path),
        "base_model": str(model.path),
        "generation": profile.generation.model_dump(),
    }
    return job, max(1, int(profile.limits.cpus))


def measure(task: str, wall: float, repeats: int) -> dict[str, Any]:
    """Run both sides in turn ``repeats`` times and set the medians side by side."""
    job, threads = describe_job(task, wall)
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive", "TOKENIZERS_PARALLELISM": "false"}
    env |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    rounds = []
    for number in range(1, repeats + 1):
        print(f"round {number}/{repeats}: bare script", file=sys.stderr, flush=True)
        plain = run_bare(job, env)
        print(f"round {number}/{repeats}: dojo submit", file=sys.stderr, flush=True)
        rounds.append({"bare": plain, "dojo": run_dojo(task, wall, env)})

    def median(side: str, name: str) -> float:
        return statistics.median(float(entry[side][name]) for entry in rounds)

    return {
        "benchmark": "run_overhead",
        "what": "`dojo submit --agent recipe` against a bare script that trains and scores the same, medians, seconds",
        "task": task,
        "train_s": job["seconds"],
        "threads": threads,
        "dojo_s": median("dojo", "seconds"),
        "bare_s": median("bare", "seconds"),
        "ratio": median("dojo", "seconds") / median("bare", "seconds"),
        "step_ratio": median("bare", "steps_per_s") / median("dojo", "steps_per_s"),
        "rounds": rounds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="math/aime25")
    parser.add_argument(
        "--wall", type=float, default=120.0, help="wall budget of the run, seconds, at least 110; 70 %% is training"
    )
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--bare", metavar="JOB", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.bare:
        bare(json.loads(args.bare))
        return
    if args.wall < 110:
        parser.error(f"--wall {args.wall:g}: below 110 s the recipe's reserve, not its share, sets the training time")
    found = measure(args.task, args.wall, args.repeats)
    print(
        f"whole run {found['dojo_s']:.1f} s, bare script {found['bare_s']:.1f} s, ratio {found['ratio']:.2f}; "
        f"a training step takes {found['step_ratio']:.2f} times as long"
    )
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
