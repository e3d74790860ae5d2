"""`make setup`: what it refuses, and that it tells a CUDA build of torch from another before anything is downloaded."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[3]
SCRIPTS = sorted([*(REPO / "scripts").glob("*.sh"), REPO / ".ci" / "run"])
WANTS_CUDA = REPO / "scripts" / "wants_cuda.py"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(REPO / name, tmp_path)
    shutil.copytree(REPO / "scripts", tmp_path / "scripts")
    return tmp_path


def setup(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [folder / "scripts" / "setup.sh"],
        env={**os.environ, "SKIP_ASSETS": "1", **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_executable_stops_at_errors_and_parses(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert "\nset -euo pipefail\n" in script.read_text(encoding="utf-8")
    assert subprocess.run(["bash", "-n", script], capture_output=True).stderr == b""


def test_a_python_that_is_none_is_refused_by_name(checkout: Path) -> None:
    result = setup(checkout, PYTHON="/nowhere/python")
    assert result.returncode == 3
    assert "PYTHON=/nowhere/python is no Python 3.11 or newer" in result.stderr
    assert not (checkout / ".venv").exists()


def test_setup_does_nothing_where_it_was_done_with_the_same_files(checkout: Path) -> None:
    bin_dir = checkout / ".venv" / "bin"
    bin_dir.mkdir(parents=True)
    (bin_dir / "dojo").write_text("#!/bin/sh\n", encoding="utf-8")
    (bin_dir / "dojo").chmod(0o755)
    # The same sum that the script takes: the folder's name and the files that decide what is installed.
    stamp = "(pwd; cat pyproject.toml constraints.txt scripts/setup.sh) | sha256sum | cut -d' ' -f1"
    done = subprocess.run(["bash", "-c", stamp], cwd=checkout, capture_output=True, text=True, check=True).stdout
    (checkout / ".venv" / ".dojo-setup").write_text(done, encoding="utf-8")

    result = setup(checkout, PYTHON="/nowhere/python")
    assert (result.returncode, result.stderr) == (0, "")

    with (checkout / "constraints.txt").open("a", encoding="utf-8") as pins:
        pins.write("# changed\n")
    assert setup(checkout, PYTHON="/nowhere/python").returncode == 3


@pytest.mark.parametrize(
    ("requires", "cuda"),
    [
        (["filelock", "sympy>=1.13.3"], False),
        (["filelock", f'nvidia-cublas==13.1; platform_system == "{os.uname().sysname}"'], True),
        (['nvidia-cublas==13.1; platform_system == "Plan9"'], False),
        (["cuda-toolkit[cublas]==13.0"], True),
        (['nvidia-cublas; extra == "cuda"'], False),
    ],
)
def test_a_cuda_build_of_torch_is_told_by_what_it_requires_here(tmp_path: Path, requires: list[str], cuda: bool) -> None:
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"install": [{"metadata": {"name": "torch", "requires_dist": requires}}]}), encoding="utf-8")
    assert subprocess.run([sys.executable, WANTS_CUDA, report]).returncode == (0 if cuda else 1)


def test_the_torch_that_is_installed_here_is_the_pinned_one() -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed: the core works without it")
    from importlib.metadata import version

    pinned = next(
        line for line in (REPO / "constraints.txt").read_text(encoding="utf-8").splitlines() if line.startswith("torch==")
    )
    assert version("torch").split("+")[0] == pinned.removeprefix("torch==")
