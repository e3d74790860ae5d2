"""Inspect's own checks pass on pods, as on other backends (tests/contract); as root by hand, see k8s/README.md."""

import os
import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PYTHON = PROJECT / "build/inspect/bin/python"


@pytest.mark.slow
def test_inspects_checks_pass_on_pods(settings: pytest.MonkeyPatch) -> None:
    if not PYTHON.exists():
        pytest.skip("Inspect's venv is not there: scripts/inspect.sh makes it")
    command = [str(PYTHON), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", "-o", "asyncio_mode=auto"]
    command += ["--confcutdir", "tests/contract", "-rx", "tests/contract/inspect_self_check.py"]
    environment = {**os.environ, "DOJO_CHECK_BACKEND": "kubernetes", "DOJO_CHECK_USER": "agent"}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|xfailed|failed|skipped)", done.stdout)}
    assert counts == {"passed": 43, "xfailed": 1}, done.stdout[-3000:] + done.stderr[-1000:]
