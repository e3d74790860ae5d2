"""What neighbours on the machine do to a score: the same agent, task and seed on a quiet machine and on a loaded one.

    python benchmarks/load.py [--agent recipe] [--task math/aime25] [--seeds 1] [--times 4] [--budget LIMITS] [--json FILE]

Loaded means so many busy loops beside the run on every core. Each pair of runs is set side by side with standard errors over the
hidden items; `ratio` is how much longer the loaded run took, which says that the load was one. With a budget in CPU-seconds the
scores of a pair should differ by no more than two standard errors of the difference; with `--budget wall=2m,cpu=none` they need
not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
# Half the width of a 95 % interval in standard errors.
HALF_WIDTH = 1.96


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep so many processes computing meanwhile."""
    # ends with its parent too: a loop that outlives a killed benchmark would load the machine for ever
    program = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    for _ in range(1_000_000): pass"
    # Linux shares the cores among sessions (autogroup): loops of one session are one neighbour, however many they are
    started = [subprocess.Popen([sys.executable, "-c", program], start_new_session=True) for _ in range(loops)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()


def run(agent: str, task: str, seed: int, budget: str) -> dict[str, Any]:
    """Do one run in a results directory of its own; return its score and what it used."""
    with tempfile.TemporaryDirectory() as home:
        command = [str(Path(sys.executable).with_name("dojo")), "submit", "--agent", agent, "--task", task, "--profile", "mini"]
        command += ["--seed", str(seed), "--budget", budget, "--json"]
        done = subprocess.run(command, env=os.environ | {"DOJO_HOME": home}, capture_output=True, text=True, cwd=REPO)
        if done.returncode != 0:
            sys.exit(f"dojo submit failed with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
        result = json.loads(next(Path(home).glob("batches/*/runs/*/result.json")).read_text(encoding="utf-8"))
    grade, usage = result["grade"], result["usage"]
    return {
        "score": grade["scores"]["primary"]["value"],
        "error": (grade["ci_high"] - grade["ci_low"]) / (2 * HALF_WIDTH),
        "outcome": result["outcome"]["cause"],
        "submissions": result["submissions"],
        "cpu_s": usage["cpu"],
        "wall_s": usage["wall"],
    }


def compared(quiet: dict[str, Any], loaded: dict[str, Any]) -> dict[str, Any]:
    """Set a pair side by side: the difference of its scores, also in standard errors of the difference."""
    difference = loaded["score"] - quiet["score"]
    error = math.hypot(quiet["error"], loaded["error"])
    errors = 0.0 if difference == 0.0 else abs(difference) / error if error else math.inf
    slower = loaded["wall_s"] / quiet["wall_s"]
    return {"difference": difference, "error": error, "errors": errors, "within_two": errors <= 2.0, "slower": slower}


def measure(agent: str, task: str, seeds: int, times: int, budget: str) -> dict[str, Any]:
    """Do a quiet and a loaded run for each seed."""
    loops, pairs = times * len(os.sched_getaffinity(0)), []
    for seed in range(seeds):
        print(f"seed {seed}: quiet", file=sys.stderr, flush=True)
        quiet = run(agent, task, seed, budget)
        print(f"seed {seed}: beside {loops} busy loops", file=sys.stderr, flush=True)
        with busy(loops):
            loaded = run(agent, task, seed, budget)
        pairs.append({"seed": seed, "quiet": quiet, "loaded": loaded, **compared(quiet, loaded)})
    return {
        "benchmark": "load",
        "what": "the same agent, task and seed on a quiet machine and beside busy loops on every core, hidden scores",
        "agent": agent,
        "task": task,
        "budget": budget,
        "busy_loops": loops,
        "ratio": statistics.median(pair["slower"] for pair in pairs),
        "within_two": all(pair["within_two"] for pair in pairs),
        "pairs": pairs,
    }


def table(found: dict[str, Any]) -> str:
    """Return the pairs as Markdown."""
    lines = ["| seed | quiet | loaded | difference | in standard errors | CPU-seconds | wall |", "|---|---|---|---|---|---|---|"]
    for pair in found["pairs"]:
        quiet, loaded = pair["quiet"], pair["loaded"]
        lines.append(
            f"| {pair['seed']} | {quiet['score']:.3f} ± {quiet['error']:.3f} | {loaded['score']:.3f} ± {loaded['error']:.3f} "
            f"| {pair['difference']:+.3f} ± {pair['error']:.3f} | {pair['errors']:.1f} "
            f"| {quiet['cpu_s']:.0f}, {loaded['cpu_s']:.0f} | {quiet['wall_s']:.0f} s, {loaded['wall_s']:.0f} s |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent", default="recipe")
    parser.add_argument("--task", default="math/aime25")
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0 to N-1")
    parser.add_argument("--times", type=int, default=4, help="busy loops on every core")
    parser.add_argument("--budget", default="cpu=100s,wall=30m", help="over the task's own, as dojo submit takes it")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    if args.seeds < 1 or args.times < 1:
        parser.error(f"--seeds {args.seeds} --times {args.times}: both are at least 1")
    found = measure(args.agent, args.task, args.seeds, args.times, args.budget)
    print(table(found))
    verdict = "within" if found["within_two"] else "not all within"
    print(f"{args.agent} on {args.task} with {args.budget}: {verdict} two standard errors of each other")
    print(f"loaded runs took {found['ratio']:.1f} times as long")
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
