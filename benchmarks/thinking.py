"""What runs of FT-Agent say of themselves: iterations, those that changed something, when the best model was there.

    python benchmarks/thinking.py [--home DIRECTORY] [--batch BATCH] [--task TASK] [--json FILE]

Read from the `figures.json` that every run leaves in its workspace; a row a task and variant, means over runs with the least and
the most. Seconds are those of the budget that the run was nearest to ending, CPU-seconds on the mini profiles. A count of runs
stands beside each row: one that left no figures is counted and named.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from harness import Dojo
from harness.spec.errors import DojoError

COLUMNS = {
    "iterations": "iterations",
    "effective": "effective",
    "improving_share": "improving share",
    "seconds_to_first_submission": "s to first hand-in",
    "seconds_to_best": "s to best",
    "seconds_training": "s training",
    "seconds": "s used",
}


def figures(dojo: Dojo, task: str | None, batch: str | None) -> tuple[dict[tuple[str, str], list[dict[str, Any]]], list[str]]:
    """Return the figures of every graded run by (task, variant), and the runs that left none."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    without = []
    for result in dojo.results(task, batch):
        if result.spec.agent.name != "ft_agent":
            continue
        try:
            found[result.spec.task.id, result.spec.shown].append(json.loads(dojo.file(result.spec.id, "figures.json")))
        except DojoError:
            without.append(result.spec.id)
    return found, without


def spread(values: list[float]) -> str:
    """Return a mean with the least and the most; of none, as of a best model that never came, a dash."""
    if not values:
        return "–"
    return f"{statistics.mean(values):.2f} ({min(values):g}–{max(values):g})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=None)
    parser.add_argument("--batch")
    parser.add_argument("--task")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found, without = figures(Dojo(home=args.home) if args.home else Dojo(), args.task, args.batch)
    print(f"| task | variant | runs | {' | '.join(COLUMNS.values())} |")
    print("|---|---|---|" + "---|" * len(COLUMNS))
    for (task, variant), runs in sorted(found.items()):
        cells = [spread([float(run[key]) for run in runs if run.get(key) is not None]) for key in COLUMNS]
        print(f"| {task} | {variant} | {len(runs)} | {' | '.join(cells)} |")
    if without:
        print(f"no figures were left by: {', '.join(without)}")
    if args.json:
        args.json.write_text(json.dumps([{"task": t, "variant": v, "runs": r} for (t, v), r in sorted(found.items())], indent=1))


if __name__ == "__main__":
    main()
