"""What a sandbox costs, side by side in one run: bare processes, our backends, plain `docker exec`, and Inspect's docker sandbox.

    python benchmarks/sandbox.py [--rounds 200] [--quick] [--json FILE]

Every subject runs the same `true`, in turn with all others, so that a busy machine slows all alike. Printed: making one, the
round trip of a call (median and 99th percentile), calls a second of 1, 8 and 32 callers, a large file up and down, 10,000 small
files in and out as an archive, how far a deadline is overrun, and what survives it; then our ratios to the bare call and to
Inspect. A rival that is not to be had here is named with the reason.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.sandbox import engine, images
from harness.sandbox.base import Sandbox, SandboxSpec
from harness.sandbox.registry import get_backend
from harness.spec.errors import DojoError
from harness.spec.task import Limits

PROJECT = Path(__file__).resolve().parents[1]
COMMAND = ["/usr/bin/true"]
CALLERS = (1, 8, 32)
SLICE_S, SLICES = 0.5, 4
# leaves a child that ignores TERM, in a session of its own
STUBBORN = ["sh", "-c", "trap '' TERM; (trap '' TERM; setsid sleep 61.7) & sleep 61.7"]
DEADLINE_S = 1
MB = 1024 * 1024


class Subject(Protocol):
    """Something that runs commands."""

    name: str

    def run(self) -> None:
        """Run `COMMAND` to its end."""
        ...

    def close(self) -> None:
        """Remove it."""
        ...


@dataclass
class Bare:
    """`subprocess.run` on the host."""

    name: str = "bare subprocess"

    def run(self) -> None:
        subprocess.run(COMMAND, capture_output=True, check=True)

    def close(self) -> None:
        pass


@dataclass
class Ours:
    """One of our backends."""

    name: str
    backend: str
    create_ms: float = 0.0
    sandbox: Sandbox = field(init=False)

    def __post_init__(self) -> None:
        backend, times = get_backend(self.backend), []
        for number in range(5):
            spec = SandboxSpec(
                f"bench-{os.getpid()}-{self.backend}-{number}", Limits(cpus=2, memory_mb=2048, pids=512, disk_mb=4096)
            )
            started = time.perf_counter()
            self.sandbox = backend.create(spec)
            times.append((time.perf_counter() - started) * 1000)
            if number < 4:
                self.sandbox.close()
        self.create_ms = statistics.median(times)

    def run(self) -> None:
        assert self.sandbox.exec(COMMAND).ok

    def write(self, path: str, data: bytes) -> None:
        self.sandbox.write_file(path, data)

    def read(self, path: str, size: int) -> bytes:
        return self.sandbox.read_file(path, max_bytes=size)

    def deadline(self) -> tuple[float, int]:
        """Return by how many seconds a stubborn command overran its deadline, and how many of its processes are left."""
        started = time.perf_counter()
        result = self.sandbox.exec(STUBBORN, timeout_s=DEADLINE_S)
        over = time.perf_counter() - started - DEADLINE_S
        assert result.timed_out, result
        return over, self.sandbox.usage().processes

    def close(self) -> None:
        self.sandbox.close()


@dataclass
class DockerExec:
    """A container of the same image, spoken to by `docker exec`: through the command line or the SDK."""

    name: str
    sdk: bool
    create_ms: float = 0.0

    def __post_init__(self) -> None:
        docker = engine.client()
        started = time.perf_counter()
        self._container = docker.containers.run(
            images.reference("base", "cpu"), ["sleep", "infinity"], detach=True, network_mode="none", init=True
        )
        self.create_ms = (time.perf_counter() - started) * 1000

    def run(self) -> None:
        if self.sdk:
            assert self._container.exec_run(COMMAND).exit_code == 0
        else:
            subprocess.run(["docker", "exec", self._container.id, *COMMAND], capture_output=True, check=True)

    def write(self, path: str, data: bytes) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        self._container.put_archive("/", packed.getvalue())

    def read(self, path: str, size: int) -> bytes:
        stream, _ = self._container.get_archive(path, chunk_size=MB)
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
            found = tar.extractfile(tar.getmembers()[0])
            assert found is not None
            return found.read()

    def close(self) -> None:
        self._container.remove(force=True)


class Inspect:
    """Inspect's docker sandbox, in a process of Inspect's venv that answers one line for each line it is told."""

    name = "inspect docker"

    def __init__(self) -> None:
        python = PROJECT / "build/inspect/bin/python"
        for script in ("inspect.sh", "compose.sh"):
            done = subprocess.run([str(PROJECT / "scripts" / script)], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError((done.stderr.strip().splitlines() or [f"scripts/{script} failed"])[-1])
        environment = {**os.environ, "DOCKER_CONFIG": done.stdout.strip(), "BENCH_IMAGE": images.reference("base", "cpu")}
        self._process = subprocess.Popen(
            [str(python), str(PROJECT / "benchmarks/rivals/inspect_docker.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self.create_ms = float(self._answer()["create_ms"])

    def ask(self, **what: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            assert self._process.stderr is not None
            raise RuntimeError((self._process.stderr.read().strip().splitlines() or ["it ended"])[-1])
        found: dict[str, Any] = json.loads(line)
        return found

    def run(self) -> None:
        self.ask(do="exec")

    def close(self) -> None:
        with contextlib.suppress(RuntimeError, BrokenPipeError):
            self.ask(do="close")
        self._process.wait(timeout=120)


def milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def round_trips(subjects: list[Subject], rounds: int) -> dict[str, dict[str, float]]:
    """Return p50 and p99 of each subject's call, milliseconds, measured in turn. Inspect times its own calls."""
    times: dict[str, list[float]] = {s.name: [] for s in subjects}
    for subject in subjects:
        for _ in range(5):
            subject.run()
    for number in range(rounds):
        for subject in subjects:
            slow = isinstance(subject, Inspect | DockerExec)
            if slow and number % 5:
                continue  # a fifth of the rounds: they take a hundred times as long
            took = subject.ask(do="exec")["ms"] if isinstance(subject, Inspect) else milliseconds(subject.run)
            times[subject.name].append(took)
    return {
        name: {"p50_ms": statistics.median(t), "p99_ms": statistics.quantiles(t, n=100)[98], "calls": len(t)}
        for name, t in times.items()
    }


def calls_per_second(subject: Subject, callers: int) -> float:
    """Return how many calls a second so many callers make together during one slice."""
    if isinstance(subject, Inspect):
        return float(subject.ask(do="rate", callers=callers, seconds=max(SLICE_S, 2.0))["rate"])
    end = time.perf_counter() + SLICE_S

    def repeat(_: int) -> int:
        count = 0
        while time.perf_counter() < end:
            subject.run()
            count += 1
        return count

    started = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        total = sum(pool.map(repeat, range(callers)))
    return total / (time.perf_counter() - started)


def throughput(subjects: list[Subject], slices: int) -> dict[str, dict[str, float]]:
    """Return subject → callers → calls a second: medians over slices taken in turn."""
    found: dict[str, dict[str, float]] = {s.name: {} for s in subjects}
    for callers in CALLERS:
        rates: dict[str, list[float]] = {s.name: [] for s in subjects}
        for _ in range(slices):
            for subject in subjects:
                rates[subject.name].append(calls_per_second(subject, callers))
        for name, values in rates.items():
            found[name][str(callers)] = statistics.median(values)
    return found


def large_file(subject: Subject, size_mb: int) -> dict[str, float]:
    """Return MB a second up and down for one file."""
    if isinstance(subject, Inspect):
        done = subject.ask(do="file", size_mb=size_mb)
        return {"size_mb": size_mb, "up_mb_s": size_mb / done["up_s"], "down_mb_s": size_mb / done["down_s"]}
    assert isinstance(subject, Ours | DockerExec)
    data = os.urandom(MB) * size_mb
    up = milliseconds(lambda: subject.write("/workspace/large", data)) / 1000
    started = time.perf_counter()
    assert len(subject.read("/workspace/large", len(data))) == len(data)
    return {"size_mb": size_mb, "up_mb_s": size_mb / up, "down_mb_s": size_mb / (time.perf_counter() - started)}


def small_files(subject: Ours, count: int) -> dict[str, float]:
    """Return seconds to unpack and to archive so many files of 100 bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for number in range(count):
            member = tarfile.TarInfo(f"{number // 100}/{number}")
            member.size = 100
            tar.addfile(member, io.BytesIO(bytes(100)))
    packed.seek(0)
    into = milliseconds(lambda: subject.sandbox.extract("/workspace/small", packed)) / 1000
    started = time.perf_counter()
    size = sum(len(piece) for piece in subject.sandbox.archive("/workspace/small"))
    assert size >= count * 1024
    return {"files": count, "in_s": into, "out_s": time.perf_counter() - started}


def deadlines(subject: Ours, rounds: int) -> dict[str, float]:
    """Return the 99th percentile (the worst, below 100 rounds) of overruns, seconds, and all survivors."""
    found = [subject.deadline() for _ in range(rounds)]
    over = sorted(o for o, _ in found)
    return {
        "rounds": rounds,
        "overshoot_p50_s": statistics.median(over),
        "overshoot_p99_s": over[math.ceil(0.99 * len(over)) - 1],
        "survivors": sum(s for _, s in found),
    }


def subjects_here(found: dict[str, Any]) -> Iterator[Subject]:
    """Make what can be made here, the ones without Docker first; note the reason for every other."""
    makers: dict[str, Callable[[], Subject]] = {
        "bare subprocess": Bare,
        "our namespace": lambda: Ours("our namespace", "namespace"),
        "our docker": lambda: Ours("our docker", "docker"),
        "our kubernetes": lambda: Ours("our kubernetes", "kubernetes"),
        "docker exec (CLI)": lambda: DockerExec("docker exec (CLI)", sdk=False),
        "docker exec (SDK)": lambda: DockerExec("docker exec (SDK)", sdk=True),
        "inspect docker": Inspect,
    }
    for name, make in makers.items():
        print(f"making {name}", file=sys.stderr, flush=True)
        try:
            yield make()
        except (DojoError, RuntimeError, OSError) as exc:
            found["not_here"][name] = str(exc)


def measure(rounds: int, quick: bool) -> dict[str, Any]:
    os.environ.setdefault("DOJO_IMAGE_TASK", images.reference("base", "cpu"))
    found: dict[str, Any] = {
        "benchmark": "sandbox",
        "what": f"{COMMAND[0]} in each subject, in turn; one image for all containers",
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "not_here": {},
    }
    subjects: list[Subject] = []
    try:
        for subject in subjects_here(found):
            subjects.append(subject)
        found["create_ms"] = {s.name: s.create_ms for s in subjects if not isinstance(s, Bare)}  # type: ignore[attr-defined]
        say("round trips")
        found["round_trip"] = round_trips(subjects, rounds)
        say("calls a second")
        found["calls_per_second"] = throughput(subjects, 2 if quick else SLICES)
        say("files")
        sizes = {s.name: (64 if quick else 1024) if isinstance(s, Ours) else 64 for s in subjects}
        rivals = [s for s in subjects if isinstance(s, Ours | Inspect) or (isinstance(s, DockerExec) and s.sdk)]
        found["large_file"] = {s.name: large_file(s, sizes[s.name]) for s in rivals}
        ours = [s for s in subjects if isinstance(s, Ours)]
        found["small_files"] = {s.name: small_files(s, 1_000 if quick else 10_000) for s in ours}
        say("deadlines")
        found["deadline"] = {s.name: deadlines(s, 3 if quick else 25) for s in ours}
    finally:
        for subject in subjects:
            subject.close()
    trips = found["round_trip"]
    bare = trips["bare subprocess"]["p50_ms"]
    found["ratio"] = trips["our namespace"]["p50_ms"] / bare
    found["ratios_to_bare"] = {name: t["p50_ms"] / bare for name, t in trips.items()}
    if "our kubernetes" in trips and "our docker" in trips:
        found["kubernetes_to_docker"] = trips["our kubernetes"]["p50_ms"] / trips["our docker"]["p50_ms"]
    if "inspect docker" in trips:
        found["times_faster_than_inspect"] = {s.name: trips["inspect docker"]["p50_ms"] / trips[s.name]["p50_ms"] for s in ours}
    return found


def say(text: str) -> None:
    print(f"measuring {text}", file=sys.stderr, flush=True)


def show(found: dict[str, Any]) -> None:
    print(f"{'':20}{'create':>10}{'p50 ms':>10}{'p99 ms':>10}{'to bare':>9}" + "".join(f"{f'{c} at once':>12}" for c in CALLERS))
    for name, trip in found["round_trip"].items():
        create = f"{found['create_ms'][name]:.0f} ms" if name in found["create_ms"] else "-"
        rates = "".join(f"{found['calls_per_second'][name][str(c)]:>10.0f}/s" for c in CALLERS)
        ratio = found["ratios_to_bare"][name]
        print(f"{name:20}{create:>10}{trip['p50_ms']:>10.2f}{trip['p99_ms']:>10.2f}{ratio:>9.2f}{rates}")
    for name, file in found["large_file"].items():
        print(f"{name}: {file['size_mb']} MB up at {file['up_mb_s']:.0f} MB/s, down at {file['down_mb_s']:.0f} MB/s")
    for name, files in found["small_files"].items():
        print(f"{name}: {files['files']} small files in {files['in_s']:.2f} s, out {files['out_s']:.2f} s")
    for name, d in found["deadline"].items():
        over = f"{d['overshoot_p50_s']:.3f} s, p99 {d['overshoot_p99_s']:.3f} s"
        print(f"{name}: a deadline is overrun by {over}; {d['survivors']} survive")
    for name, times in found.get("times_faster_than_inspect", {}).items():
        print(f"{name}: {times:.0f} times faster than Inspect's docker sandbox")
    if "kubernetes_to_docker" in found:
        print(f"a call in a pod takes {found['kubernetes_to_docker']:.2f} of one in our docker sandbox (goal 3)")
    for name, reason in found["not_here"].items():
        print(f"not here: {name}: {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="smaller files and fewer rounds, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    found = measure(20 if args.quick else args.rounds, args.quick)
    show(found)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
