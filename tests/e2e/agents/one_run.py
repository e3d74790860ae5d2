"""One whole run of a shipped agent, by the command line."""

import contextlib
import json
import os
import subprocess
import sys
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
    found = find_agent(agent)
    try:
        find_base_model("smol", CACHE)
        if found.config.install and look_up_install(found, CACHE) is None:
            pytest.skip(f"`dojo agents install {agent}` was not done here")
    except DojoError as exc:
        pytest.skip(f"{exc.message}: {exc.hint}")
    command = [sys.executable, "-m", "harness.cli.main", "submit", "--agent", agent, "--task", task, "--profile", "mini"]
    command += ["--limit", "8", "--sandbox", SANDBOX, "--json", *more]
    environment = {**os.environ, "DOJO_HOME": str(home), "DOJO_CACHE": str(CACHE)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    answer = json.loads(done.stdout)
    assert answer["ok"], (answer, done.stderr[-3000:])
    return next(home.glob("batches/*/runs/*"))
