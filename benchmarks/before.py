"""What an agent waits for, in this checkout and in an earlier one, in turns: `exec`, `submit`, `evaluate`.

    python benchmarks/before.py CHECKOUT [--rounds 3] [--only CALL …] [--task math/aime25] [--json FILE]

CHECKOUT is a folder with an earlier commit of this repository (`git worktree add FOLDER COMMIT`); its code runs with this
environment's libraries. A round is one real run in each, the order turned every time. Its agent makes a LoRA adapter, then asks
for every call several times and prints how long each took. `ratio` is this checkout's median over the other's; the spread of the
rounds' own ratios says what the machine's noise is.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
CALLS = {"exec": (1000, 'api.exec("true")'), "submit": (5, "api.submit(folder)"), "evaluate": (3, "api.evaluate(folder)")}
AGENT = """
import json, os, time
import dojo_tool, torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
api, folder = dojo_tool.Client(), os.path.abspath("adapter")
torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained(api.task()["base_model"]["path"], dtype=torch.float32)
get_peft_model(model, LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")).save_pretrained("adapter")
del model

def timed(times, call):
    for _ in range(times):
        begun = time.perf_counter()
        call()
        yield time.perf_counter() - begun

api.exec("true")
print("TIMES", json.dumps({CALLS}), flush=True)
"""


def run(checkout: Path, task: str, calls: Sequence[str]) -> dict[str, list[float]]:
    """Do one run with a checkout's code; return the seconds of each call by its name."""
    with tempfile.TemporaryDirectory() as work:
        agent = Path(work) / "waits"
        agent.mkdir()
        (agent / "agent.toml").write_text('name = "waits"\ncommand = ["python", "/agent/main.py"]\n', encoding="utf-8")
        timed = ", ".join(f'"{call}": list(timed({CALLS[call][0]}, lambda: {CALLS[call][1]}))' for call in calls)
        (agent / "main.py").write_text(AGENT.replace("{CALLS}", "{" + timed + "}"), encoding="utf-8")
        command = [sys.executable, "-m", "harness.cli.main", "submit", "--agent", str(agent), "--task", task]
        command += ["--profile", "mini", "--json"]
        environment = os.environ | {"PYTHONPATH": str(checkout), "DOJO_HOME": f"{work}/home"}
        done = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True)
        printed = "".join(path.read_text(encoding="utf-8") for path in Path(work).glob("home/batches/*/runs/*/agent.stdout"))
    lines = [line for line in printed.splitlines() if line.startswith("TIMES ")]
    if done.returncode != 0 or not lines:
        sys.exit(f"the run in {checkout} did not measure:\n{done.stdout[-1500:]}\n{done.stderr[-2500:]}\n{printed[-1000:]}")
    found: dict[str, list[float]] = json.loads(lines[-1].removeprefix("TIMES "))
    return found


def measure(before: Path, rounds: int, task: str, calls: Sequence[str]) -> dict[str, Any]:
    """Do the rounds in turns; return the medians, their ratios, and each round's own."""
    sides = {"before": before, "now": REPO}
    seen: list[dict[str, dict[str, float]]] = []
    every: dict[str, dict[str, list[float]]] = {side: {call: [] for call in calls} for side in sides}
    for number in range(rounds):
        medians: dict[str, dict[str, float]] = {}
        for side in sorted(sides, reverse=number % 2 == 1):
            print(f"round {number + 1} of {rounds}: {side}", file=sys.stderr, flush=True)
            times = run(sides[side], task, calls)
            medians[side] = {call: statistics.median(times[call]) for call in calls}
            for call in calls:
                every[side][call] += times[call]
        seen.append(medians)
    found = {}
    for call in calls:
        now, then = (statistics.median(every[side][call]) for side in ("now", "before"))
        ratios = [medians["now"][call] / medians["before"][call] for medians in seen]
        found[call] = {"before_s": then, "now_s": now, "ratio": now / then, "rounds": ratios, "calls": len(every["now"][call])}
    return {"benchmark": "before", "what": "median seconds of an agent's calls, earlier checkout against this", "calls": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, metavar="CHECKOUT", help="folder of the earlier checkout")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=tuple(CALLS), metavar="CALL", help=f"of {', '.join(CALLS)}")
    parser.add_argument("--task", default="math/aime25")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    if not (args.before / "harness" / "cli" / "main.py").is_file():
        parser.error(f"{args.before} is no checkout of dojo: git worktree add {args.before} COMMIT makes one")
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: at least 1")
    found = measure(args.before.resolve(), args.rounds, args.task, args.only or tuple(CALLS))
    print("| call | before | now | ratio | ratios of the rounds |\n|---|---|---|---|---|")
    for call, line in found["calls"].items():
        ratios = ", ".join(f"{ratio:.2f}" for ratio in line["rounds"])
        print(f"| {call} | {line['before_s'] * 1e3:.1f} ms | {line['now_s'] * 1e3:.1f} ms | {line['ratio']:.2f} | {ratios} |")
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
