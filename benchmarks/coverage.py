"""Coverage of nominal 95 % intervals of the difference of two agents: the table in docs/statistics.md.

    python benchmarks/coverage.py [--draws 500] [--seed 0] [--json FILE]

144 cells: K = 2, 3, 5, 10 runs per agent; N = 15, 50, 200 items; run-to-run SD 0–0.8 and agent-by-item SD 0–1.5, both on the
logit scale.
Ten seconds on one idle core; `--draws 5000` two minutes and about 1 GB.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np

from harness.analysis.simulate import METHODS, Cell, coverage

CELLS = [Cell(*values) for values in product((2, 3, 5, 10), (15, 50, 200), (0.0, 0.2, 0.4, 0.8), (0.0, 0.75, 1.5))]
TITLES = {
    "items_only": "items only",
    "naive_bootstrap": "naive bootstrap over runs and items",
    "welch": "Welch t on run means",
    "crossed": "crossed components, Satterthwaite",
}


def measure(draws: int, seed: int) -> list[dict[str, float]]:
    """Return a row a cell: its parameters and each method's coverage."""
    rows = []
    for number, cell in enumerate(CELLS, start=1):
        rows.append({**vars(cell), **coverage(cell, draws, seed)})
        if number % 12 == 0:
            print(f"{number}/{len(CELLS)} cells", file=sys.stderr, flush=True)
    return rows


def table(rows: list[dict[str, float]]) -> str:
    """Return the table by interval as Markdown."""
    lines = ["| interval | min | 10th percentile | median | max |", "|---|---|---|---|---|"]
    for method in METHODS:
        shares = [row[method] for row in rows]
        figures = (np.min(shares), np.quantile(shares, 0.1), np.median(shares), np.max(shares))
        lines.append(f"| {TITLES[method]} | " + " | ".join(f"{100 * f:.0f} %" for f in figures) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=500, help="simulated comparisons a cell")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write every cell's coverage here")
    options = parser.parse_args()
    started = time.perf_counter()
    rows = measure(options.draws, options.seed)
    seconds = time.perf_counter() - started
    print(table(rows))
    print(f"\n{len(rows)} cells of {options.draws} draws, seed {options.seed}, {seconds:.0f} s")
    if options.json:
        document = {"draws": options.draws, "seed": options.seed, "seconds": round(seconds, 1), "cells": rows}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
