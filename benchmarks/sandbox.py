"""What running a command in a sandbox costs beside a bare `subprocess.run` of the same command on the host.

    python benchmarks/sandbox.py [--rounds 300] [--backend namespace] [--json FILE]

Bare and sandboxed calls are made in turn, so that a busy machine slows both. Printed: median and 99th percentile of one call's
round trip, calls a second of one caller and of eight, making and destroying a sandbox, and the ratios to the bare call.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.sandbox.base import Backend, Sandbox, SandboxSpec
from harness.sandbox.registry import get_backend
from harness.spec.task import Limits

COMMAND = ["/usr/bin/true"]
CALLERS = 8
# throughput is measured in slices, bare and sandboxed in turn
SLICE_S, SLICES = 0.5, 6


def milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def bare() -> None:
    subprocess.run(COMMAND, capture_output=True, check=True)


def round_trips(sandbox: Sandbox, rounds: int) -> dict[str, dict[str, float]]:
    """Return p50 and p99 of bare and sandboxed calls, milliseconds."""
    times: dict[str, list[float]] = {"bare": [], "sandbox": []}
    for call in (bare, lambda: sandbox.exec(COMMAND)):
        for _ in range(20):
            call()
    for _ in range(rounds):
        times["bare"].append(milliseconds(bare))
        times["sandbox"].append(milliseconds(lambda: sandbox.exec(COMMAND)))
    return {name: {"p50_ms": statistics.median(t), "p99_ms": statistics.quantiles(t, n=100)[98]} for name, t in times.items()}


def calls_per_second(call: Callable[[], object], callers: int) -> float:
    """Return how many calls a second ``callers`` threads make together during one slice."""
    end = time.perf_counter() + SLICE_S

    def repeat(_: int) -> int:
        count = 0
        while time.perf_counter() < end:
            call()
            count += 1
        return count

    started = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        total = sum(pool.map(repeat, range(callers)))
    return total / (time.perf_counter() - started)


def throughput(sandbox: Sandbox, callers: int) -> dict[str, float]:
    """Return calls a second, bare and sandboxed: medians over slices taken in turn."""
    found: dict[str, list[float]] = {"bare": [], "sandbox": []}
    for _ in range(SLICES):
        found["bare"].append(calls_per_second(bare, callers))
        found["sandbox"].append(calls_per_second(lambda: sandbox.exec(COMMAND), callers))
    return {name: statistics.median(values) for name, values in found.items()}


def life(backend: Backend, rounds: int) -> dict[str, float]:
    """Return how long making and destroying a sandbox takes, medians, milliseconds."""
    made: list[float] = []
    destroyed: list[float] = []
    for number in range(rounds):
        spec = SandboxSpec(f"bench-life-{os.getpid()}-{number}", Limits())
        started = time.perf_counter()
        sandbox = backend.create(spec)
        made.append((time.perf_counter() - started) * 1000)
        destroyed.append(milliseconds(sandbox.close))
    return {"create_ms": statistics.median(made), "close_ms": statistics.median(destroyed)}


def measure(backend_name: str, rounds: int) -> dict[str, object]:
    backend = get_backend(backend_name)
    cores = os.cpu_count() or 1
    sandbox = backend.create(SandboxSpec(f"bench-{os.getpid()}", Limits(cpus=cores, memory_mb=1024)))
    try:
        trips = round_trips(sandbox, rounds)
        one, eight = throughput(sandbox, 1), throughput(sandbox, CALLERS)
    finally:
        sandbox.close()
    return {
        "benchmark": "sandbox",
        "what": f"exec of {COMMAND[0]} in a {backend_name} sandbox against subprocess.run, in turn",
        "rounds": rounds,
        "cores": cores,
        "round_trip": trips,
        "calls_per_second": {"1": one, str(CALLERS): eight},
        "life": life(backend, 10),
        "ratio": trips["sandbox"]["p50_ms"] / trips["bare"]["p50_ms"],
        "ratio_p99": trips["sandbox"]["p99_ms"] / trips["bare"]["p99_ms"],
        "ratio_calls_1": one["bare"] / one["sandbox"],
        f"ratio_calls_{CALLERS}": eight["bare"] / eight["sandbox"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--backend", default="namespace")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    found = measure(args.backend, args.rounds)
    trips, calls, life_ = found["round_trip"], found["calls_per_second"], found["life"]
    assert isinstance(trips, dict) and isinstance(calls, dict) and isinstance(life_, dict)
    print(f"{'':24}{'bare':>10}{'sandbox':>10}{'ratio':>8}")
    for key, ratio in (("p50_ms", "ratio"), ("p99_ms", "ratio_p99")):
        print(f"{'round trip ' + key:24}{trips['bare'][key]:>10.2f}{trips['sandbox'][key]:>10.2f}{found[ratio]:>8.2f}")
    for callers in calls:
        bare_calls, box_calls = calls[callers]["bare"], calls[callers]["sandbox"]
        print(f"{f'calls/s, {callers} callers':24}{bare_calls:>10.0f}{box_calls:>10.0f}{bare_calls / box_calls:>8.2f}")
    print(f"create {life_['create_ms']:.0f} ms, close {life_['close_ms']:.0f} ms")
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
