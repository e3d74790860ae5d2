"""Harbor runs an exported task in our sandboxes: its linter, our environment, whole trials with nop and the oracle."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.assets.base_models import prepare_base_model
from harness.assets.export import export_harbor
from harness.assets.prepare import prepare_task
from harness.assets.task_dir import find_task
from harness.sandbox.registry import get_backend
from harness.service import Dojo

PROJECT = Path(__file__).resolve().parents[2]
VENV = PROJECT / "build" / "harbor" / "bin"
ENVIRONMENT = "harness.interop.harbor_environment:DojoEnvironment"


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mini profile of a task, exported."""
    if not (VENV / "harbor").exists():
        pytest.skip("Harbor's venv is not there: scripts/harbor.sh makes it")
    if bad := [check for check in get_backend("namespace").check() if not check.ok]:
        pytest.skip(f"namespace is not to be had here: {bad[0].detail}")
    cache = Dojo().cache
    prepared = prepare_task(find_task("math/aime25", [PROJECT / "tasks"]), "mini", cache)
    return export_harbor(prepared, prepare_base_model("smol", cache), tmp_path_factory.mktemp("harbor") / "task")


def harbor(arguments: Sequence[str | Path], **more: str) -> subprocess.CompletedProcess[str]:
    # without the variable the model client asks the network for prices at every start
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", **more}
    return subprocess.run([str(part) for part in arguments], cwd=PROJECT, env=environment, capture_output=True, text=True)


def reward(task: Path, agent: str, jobs: Path) -> dict[str, float]:
    options = ["--env", ENVIRONMENT, "--jobs-dir", jobs, "--job-name", agent, "--n-concurrent", "1", "--yes", "--quiet"]
    done = harbor([VENV / "harbor", "run", "-p", task, "-a", agent, *options])
    found = list((jobs / agent).glob("*/verifier/reward.json"))
    assert found, done.stdout[-3000:] + done.stderr[-2000:]
    read: dict[str, float] = json.loads(found[0].read_text())
    return read


@pytest.mark.slow
def test_harbors_linter_finds_nothing(task: Path) -> None:
    done = harbor([VENV / "harbor", "lint", task])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_what_harbor_relies_on_holds(task: Path) -> None:
    command = [
        VENV / "python",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        "--confcutdir=tests/contract",  # its own venv knows nothing of what the rest of our tests need
        "tests/contract/harbor_self_check.py",
    ]
    python = str(PROJECT / ".venv" / "bin" / "python")
    done = harbor(command, DOJO_CHECK_TASK=str(task), DOJO_CHECK_PYTHON=python)
    assert done.returncode == 0 and "6 passed" in done.stdout, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.slow
def test_an_agent_that_does_nothing_earns_nothing(task: Path, tmp_path: Path) -> None:
    assert reward(task, "nop", tmp_path / "jobs") == {"reward": 0.0}


@pytest.mark.slow
def test_the_oracle_trains_and_its_answers_are_of_the_asked_form(task: Path, tmp_path: Path) -> None:
    found = reward(task, "oracle", tmp_path / "jobs")
    assert found["parse_rate"] > 0.5 and 0 < found["reward"] <= 1
