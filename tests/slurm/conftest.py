"""A Slurm of its own to try things on: ``eval "$(scripts/slurm.sh up)"``, or started here where that can be had."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).parents[2] / "scripts" / "slurm.sh"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One node, which is this machine, with GPUs that are counted and not there."""
    folder = Path("/run") / f"dojo-slurm-{os.getpid()}"
    own = {**os.environ, "DOJO_TEST_SLURM": str(folder)}
    done = subprocess.run([_SCRIPT, "up"], env=own, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no Slurm: {done.stderr.strip()[-300:]}")
    with pytest.MonkeyPatch.context() as patch:
        name, _, value = done.stdout.strip().removeprefix("export ").partition("=")
        patch.setenv(name, value)
        patch.setenv("DOJO_SLURM_MEMORY_MB", "64")
        patch.setenv("DOJO_SLURM_POLL", "0.2")
        try:
            yield
        finally:
            subprocess.run([_SCRIPT, "down"], env=own, check=True)
