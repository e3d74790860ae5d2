"""One whole run of a shipped agent, by the command line."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.assets.agent_dir import find_agent
from harness.assets.base_models import find_base_model
from harness.assets.installs import look_up_install
from harness.sandbox.registry import get_backend
from harness.spec.errors import DojoError

SANDBOX = os.environ.get("DOJO_TEST_SANDBOX", "namespace")
CACHE = Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache/dojo")


@contextlib.contextmanager
def swept(folder: Path) -> Iterator[None]:
    """Skip where the sandbox is not to be had; afterwards remove what runs below ``folder`` left in it."""
    backend = get_backend(SANDBOX)
    bad = [check for check in backend.check() if not check.ok]
    if bad:
        pytest.skip(f"sandbox {SANDBOX} is not to be had here: {bad[0].detail}")
    yield
    runs = [run.name for run in folder.glob("home/batches/*/runs/*")]
    for left in backend.list():
        if any(left.startswith(run) for run in runs):
            backend.destroy(left)


def submit(home: Path, agent: str, task: str, *more: str) -> Path:
    """Submit one run with 8 hidden items and return its folder."""
    done = subprocess.run(_command(agent, task, more), env=_environment(home), capture_output=True, text=True, timeout=1800)
    answer = json.loads(done.stdout)
    assert answer["ok"], (answer, done.stderr[-3000:])
    return next(home.glob("batches/*/runs/*"))


@contextlib.contextmanager
def start(home: Path, agent: str, task: str, *more: str) -> Iterator[subprocess.Popen[str]]:
    """Submit one run and return at once; the command is ended afterwards."""
    with subprocess.Popen(
        _command(agent, task, more), env=_environment(home), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def wait_for_run(home: Path, process: subprocess.Popen[str], kind: str = "llm_reserved") -> Path:
    """Return the folder of the run once its events hold that kind."""
    deadline = time.monotonic() + 300
    while True:
        for folder in home.glob("batches/*/runs/*"):
            events = folder / "events.jsonl"
            if events.exists() and f'"{kind}"' in events.read_text(encoding="utf-8"):
                return folder
        assert process.poll() is None and time.monotonic() < deadline, f"no event {kind}"
        time.sleep(0.2)  # polls what another process does


def _command(agent: str, task: str, more: tuple[str, ...]) -> list[str]:
    found = find_agent(agent)
    try:
        find_base_model("smol", CACHE)
        if found.config.install and look_up_install(found, CACHE) is None:
            pytest.skip(f"`dojo agents install {agent}` was not done here")
    except DojoError as exc:
        pytest.skip(f"{exc.message}: {exc.hint}")
    command = [sys.executable, "-m", "harness.cli.main", "submit", "--agent", agent, "--task", task, "--profile", "mini"]
    return [*command, "--limit", "8", "--sandbox", SANDBOX, "--json", *more]


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "DOJO_HOME": str(home), "DOJO_CACHE": str(CACHE)}
