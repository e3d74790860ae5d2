"""Two harness processes share a batch and are killed again and again, at random and at aimed moments; then everything is counted.

    python -m tests.faults.chaos --kills 100 [--seed 1] [--json FILE]

Promised, and checked over all runs: nothing that was acknowledged to an agent is lost, nothing is scored twice, no agent works on
for more than two seconds after its budget, and `dojo gc` finds nothing left when all is over.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.attack.runs import make_random_model
from harness.sandbox.registry import get_backend
from harness.spec.errors import DojoError
from harness.store.kept import KeptFiles

HERE = Path(__file__).parent
TASKS = HERE.parent / "e2e" / "tasks"
WALL_S = 14
# What an agent may be late: the sandbox looks at its deadline now and then, and a machine under load is slow to kill.
LATE_S = 2.0
AIMED = (
    "state:preparing", "clock_started", "note", "evaluate", "submit", "killed", "sealed", "state:grading", "graded", "outcome",
)  # fmt: skip

# Notes, evaluates and hands in until its time is over, and writes down what it was answered and when it was last alive.
AGENT = """
import json, os, time
import dojo_tool
api = dojo_tool.Client()
os.makedirs("out", exist_ok=True)
open("out/dojo.json", "w").write(json.dumps({"dojo": "base"}))
if os.fork() == 0:
    os.setsid()
    while True:
        open("alive", "w").write(str(time.time()))
        time.sleep(0.05)
def ack(**said):
    with open("acks.jsonl", "a") as out:
        out.write(json.dumps(said) + "\\n")
        out.flush()
        os.fsync(out.fileno())
n = 0
while True:
    n += 1
    api.note(f"tick {n}")
    ack(note=f"tick {n}")
    if n % 3 == 1:
        try:
            ack(evaluation=api.evaluate("/workspace/out")["evaluation"])
        except dojo_tool.ApiError as exc:
            if exc.code != "budget_exhausted":
                raise
    if n % 3 == 2:
        ack(submission=api.submit("/workspace/out")["submission"])
    time.sleep(0.2)
"""


@dataclass
class Found:
    """What was counted."""

    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    acknowledged: int = 0
    latest_s: float = -math.inf
    broken: list[str] = field(default_factory=list)


class Chaos:
    """A home with batches that two processes drive while they live."""

    def __init__(self, folder: Path, cache: Path, model: Path, sandbox: str, seed: int) -> None:
        self.home, self._folder, self._sandbox = folder / "home", folder, sandbox
        self._random = random.Random(seed)
        self._environment = {
            **os.environ,
            "DOJO_HOME": str(self.home),
            "DOJO_CACHE": str(cache),
            "DOJO_TASKS": str(TASKS),
            "DOJO_SANDBOX": sandbox,
            "OMP_NUM_THREADS": "1",
        }
        self._model = model
        self._agent = folder / "agents" / "busy"
        self._agent.mkdir(parents=True)
        (self._agent / "agent.toml").write_text('name = "busy"\ncommand = ["python", "/agent/main.py"]\n')
        (self._agent / "main.py").write_text(AGENT)

    def play(self, kills: int, runs: int) -> Found:
        """Kill until ``kills`` is reached, then let everything end, and count."""
        found = Found()
        while sum(found.kills.values()) < kills:
            batch = self._submit(runs)
            drivers = [self._resume(batch), self._resume(batch)]
            while sum(found.kills.values()) < kills and not self._over(batch):
                victim = self._random.randrange(2)
                moment = self._random.choice(AIMED) if self._random.random() < 0.5 else ""
                self._await(batch, moment)
                if drivers[victim].poll() is None:
                    drivers[victim].send_signal(signal.SIGKILL)
                    drivers[victim].wait()
                    found.kills[moment or "at random"] += 1
                drivers[victim] = self._resume(batch)
            for driver in drivers:
                driver.wait()
            if not self._over(batch):  # the last one alive may have left what the other drove
                self._dojo("resume", batch)
        self._count(found)
        return found

    def _submit(self, runs: int) -> str:
        """Record a batch: a submit that is killed as soon as it is written down."""
        before = set(self.home.glob("batches/*"))
        process = self._start(
            "submit", "--agent", str(self._agent), "--task", "test/parity", "--profile", "mini", "--base-model", str(self._model),
            "--seeds", str(runs), "--budget", f"wall={WALL_S}s,evaluations=3",
        )  # fmt: skip
        while not (new := set(self.home.glob("batches/*/batch.json")) - {path / "batch.json" for path in before}):
            if process.poll() is not None:
                raise SystemExit(f"chaos: submit ended by itself: {process.communicate()[1][-2000:]}")
            time.sleep(0.01)
        time.sleep(0.2)
        process.kill()
        process.wait()
        return next(iter(new)).parent.name

    def _await(self, batch: str, moment: str) -> None:
        """Wait for the next event of a kind anywhere in the batch, or for a random while."""
        limit = time.monotonic() + self._random.uniform(0.5, 9.0)
        seen = Counter(kind for _, kind in self._kinds(batch))
        while time.monotonic() < limit:
            if moment and Counter(kind for _, kind in self._kinds(batch))[moment] > seen[moment]:
                return
            time.sleep(0.01)

    def _kinds(self, batch: str) -> Iterator[tuple[str, str]]:
        for path in self.home.glob(f"batches/{batch}/runs/*/events.jsonl"):
            for event in _events(path):
                kind = event["kind"]
                yield path.parent.name, f"state:{event['data']['state']}" if kind == "state" else kind

    def _over(self, batch: str) -> bool:
        final = {f"state:{state}" for state in ("done", "failed", "cancelled")}
        ended = {run for run, kind in self._kinds(batch) if kind in final}
        return ended == {path.name for path in self.home.glob(f"batches/{batch}/runs/*")}

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "harness.cli.main", *arguments],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _resume(self, batch: str) -> subprocess.Popen[str]:
        return self._start("resume", batch)

    def _dojo(self, *arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "harness.cli.main", *arguments, "--json"],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return json.loads(done.stdout)

    def _count(self, found: Found) -> None:
        for folder in sorted(self.home.glob("batches/*/runs/*")):
            found.runs += 1
            found.broken += [f"{folder.name}: {text}" for text in self._broken(folder, found)]
        backend = get_backend(self._sandbox)
        self._dojo("gc")
        runs = [folder.name for folder in self.home.glob("batches/*/runs/*")]
        left = [name for name in backend.list() if any(name.startswith(run) for run in runs)]
        found.broken += [f"left after gc: {name}" for name in left]
        found.broken += [f"gc says {row}" for row in self._dojo("gc", "--dry-run")["data"]["would_remove"] if row["id"] in runs]
        board = self._dojo("leaderboard")["data"]["rows"]
        if sum(row["runs"] + row["left_out"] for row in board) != found.runs:
            found.broken.append(f"the leaderboard knows {board}, not {found.runs} runs")

    def _broken(self, folder: Path, found: Found) -> Iterator[str]:
        events = list(_events(folder / "events.jsonl"))
        if [event["seq"] for event in events] != list(range(len(events))):
            yield "its events have gaps"
        last = max((n for n, event in enumerate(events) if event["kind"] == "clock_started"), default=0)
        attempt = events[last:]
        for name in ("evaluation", "submission"):
            kind = {"evaluation": "evaluate", "submission": "submit"}[name]
            numbers = [event["data"][name] for event in attempt if event["kind"] == kind]
            if numbers != list(range(1, len(numbers) + 1)):
                yield f"{name}s are numbered {numbers}"
        graded = sum(event["kind"] == "graded" for event in events)
        result = json.loads((folder / "result.json").read_text())
        if graded != 1 or result["grades"] != 1:
            yield f"graded {graded} times"
        if result["state"] != "done":
            yield f"it is {result['state']}: {result['outcome']['message']}"
        left = KeptFiles(folder / "workspace.zip").read_all() if (folder / "workspace.zip").exists() else {}
        for line in left.get("acks.jsonl", b"").splitlines():
            found.acknowledged += 1
            said = json.loads(line)
            ((name, value),) = said.items()
            kind = {"note": "note", "evaluation": "evaluate", "submission": "submit"}[name]
            key = "text" if name == "note" else name
            if sum(event["kind"] == kind and event["data"][key] == value for event in attempt) != 1:
                yield f"{name} {value} was acknowledged and is not there once"
        if left.get("alive"):
            late = float(left["alive"]) - datetime.fromisoformat(attempt[0]["time"]).timestamp() - WALL_S
            found.latest_s = max(found.latest_s, late)
            if late > LATE_S:
                yield f"its agent lived {late:.1f} s after its budget"


def _events(path: Path) -> Iterator[dict[str, Any]]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for line in data.splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield json.loads(line)


def main() -> int:
    """Play and print what was counted; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--runs", type=int, default=6, help="runs of a batch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sandbox", default=os.environ.get("DOJO_SANDBOX", "namespace"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dojo-chaos-") as name:
        folder = Path(name)
        try:
            model = make_random_model(Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache/dojo"), folder / "model")
        except DojoError as exc:
            print(f"chaos: {exc.message}\n  {exc.hint}", file=sys.stderr)
            return exc.exit_code
        chaos = Chaos(folder, folder / "cache", model, options.sandbox, options.seed)
        started = time.monotonic()
        found = chaos.play(options.kills, options.runs)
    print(f"{sum(found.kills.values())} kills in {time.monotonic() - started:.0f} s: {dict(found.kills)}")
    print(f"{found.runs} runs, {found.acknowledged} acknowledgements, the latest agent {found.latest_s:+.2f} s after its budget")
    print("\n".join(found.broken) or "no promise was broken")
    if options.json:
        document = {"kills": dict(found.kills), "runs": found.runs, "acknowledged": found.acknowledged}
        options.json.write_text(json.dumps({**document, "latest_s": found.latest_s, "broken": found.broken}))
    return int(bool(found.broken))


if __name__ == "__main__":
    sys.exit(main())
