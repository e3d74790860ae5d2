"""Whole runs through the real command line, sandbox, lm-eval and store; only the model and the task are tiny."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.attack.runs import make_random_model
from harness.sandbox.base import Backend
from harness.sandbox.registry import get_backend
from harness.spec.errors import DojoError

HERE = Path(__file__).parent
SANDBOX = os.environ.get("DOJO_TEST_SANDBOX", "namespace")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A random two-layer Llama with the real tokenizer of smol: loads in no time, answers nonsense."""
    cache = Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache/dojo")
    try:
        return make_random_model(cache, tmp_path_factory.mktemp("models") / "tiny")
    except DojoError as exc:
        pytest.skip(f"base model smol is not prepared: {exc.hint}")


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@dataclass
class Answer:
    code: int
    document: dict[str, Any]
    stderr: str

    @property
    def data(self) -> Any:
        assert self.document.get("ok"), (self.document, self.stderr[-2000:])
        return self.document["data"]

    @property
    def error(self) -> dict[str, str]:
        assert not self.document["ok"], self.document
        return self.document["error"]


@dataclass
class Commands:
    """The `dojo` command over one results directory."""

    home: Path
    cache: Path
    model: Path
    agents: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)

    def __call__(self, *args: str, timeout: float = 240) -> Answer:
        process = self.start(*args, "--json")
        out, err = process.communicate(timeout=timeout)
        return Answer(process.returncode, json.loads(out), err)

    def start(self, *args: str, before: Callable[[], None] | None = None) -> subprocess.Popen[str]:
        """Start the command; ``before`` is done in its process first."""
        environment = {
            **os.environ,
            "DOJO_HOME": str(self.home),
            "DOJO_CACHE": str(self.cache),
            "DOJO_TASKS": str(HERE / "tasks"),
            "DOJO_SANDBOX": SANDBOX,
            **self.environ,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.cli.main", *args],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=before,
        )
        self.started.append(process)
        return process

    def submit(self, agent: Path | str, *more: str) -> list[str]:
        args = ["submit", "--agent", str(agent), "--task", "test/parity", "--profile", "mini", "--base-model", str(self.model)]
        return [*args, *more]

    def agent(self, name: str, script: str, placement: str = "task", backbone: str = "none") -> Path:
        """Write an agent whose program is the Python text ``script``."""
        folder = self.agents / name
        folder.mkdir(parents=True)
        toml = f'name = "{name}"\ncommand = ["python", "/agent/main.py"]\nplacement = "{placement}"\n'
        toml += f'backbone = "{backbone}"\n'
        (folder / "agent.toml").write_text(toml)
        (folder / "main.py").write_text(
            "import json, os, subprocess, sys, time\nimport dojo_tool\napi = dojo_tool.Client()\n" + script
        )
        return folder

    def run_folder(self) -> Path:
        """The folder of the only run."""
        return next(self.home.glob("batches/*/runs/*"))

    def events(self) -> list[dict[str, Any]]:
        found = list(self.home.glob("batches/*/runs/*/events.jsonl"))
        return [json.loads(line) for path in found for line in path.read_text().splitlines() if line.endswith("}")]

    def wait_for(self, condition: Callable[[list[dict[str, Any]]], bool], seconds: float = 120) -> None:
        """Wait until the events of the run satisfy ``condition``."""
        deadline = time.monotonic() + seconds
        while not condition(self.events()):
            assert time.monotonic() < deadline, [e["kind"] for e in self.events()]
            time.sleep(0.002)  # polls a file another process appends to

    def kill(self, process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)


@pytest.fixture
def dojo(tmp_path, cache, tiny_model) -> Iterator[Commands]:
    backend = get_backend(SANDBOX)
    bad = [check for check in backend.check() if not check.ok]
    if bad:
        pytest.skip(f"sandbox {SANDBOX} is not to be had here: {bad[0].detail}")
    yield from closed(Commands(tmp_path / "home", cache, tiny_model, tmp_path / "agents"), backend)


def closed(commands: Commands, backend: Backend) -> Iterator[Commands]:
    """Give commands, and end and remove what they left."""
    yield commands
    for process in commands.started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    runs = [folder.name for folder in commands.home.glob("batches/*/runs/*")]
    for left in backend.list():  # of our runs only: others may be measuring on this host
        if any(left.startswith(run) for run in runs):
            backend.destroy(left)


HAND_IN_BASE = """
os.makedirs("out", exist_ok=True)
open("out/dojo.json", "w").write(json.dumps({"dojo": "base"}))
"""
