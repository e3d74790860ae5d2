"""How long `dojo --help` takes beside `python -c 'import click'`: the ratio people feel at every command.

    python benchmarks/cli_startup.py [--rounds 30] [--json FILE]

The two are started in turn, so that a busy machine slows both; medians and the ratio of medians are printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def measure(rounds: int) -> dict[str, object]:
    commands = {
        "bare": [sys.executable, "-c", "pass"],
        "click": [sys.executable, "-c", "import click"],
        "dojo": [str(Path(sys.executable).with_name("dojo")), "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        seconds(command)  # once for the file cache and the .pyc files
    for _ in range(rounds):
        for name, command in commands.items():
            times[name].append(seconds(command))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "benchmark": "cli_startup",
        "what": "`dojo --help` against `python -c 'import click'`, medians, seconds",
        "rounds": rounds,
        "dojo_help_s": medians["dojo"],
        "import_click_s": medians["click"],
        "bare_python_s": medians["bare"],
        "ratio": medians["dojo"] / medians["click"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    found = measure(args.rounds)
    print(f"dojo --help {found['dojo_help_s']:.3f} s, import click {found['import_click_s']:.3f} s, ratio {found['ratio']:.2f}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
