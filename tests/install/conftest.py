"""A wheel of this checkout, and an environment elsewhere with nothing of the checkout in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
NOT_PACKAGES = ("__pycache__", "__editable__*", "_editable_impl_*", "_dojo_bench.pth", "dojo_bench*")


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it, and an empty folder to work in."""

    python: Path
    folder: Path

    def dojo(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("DOJO_", "PYTHON"))}
        if "DOJO_CACHE" in os.environ:
            environment["DOJO_CACHE"] = os.environ["DOJO_CACHE"]
        return subprocess.run(
            [self.python.parent / "dojo", *arguments],
            cwd=self.folder,
            env={**environment, "COLUMNS": "200", **settings},
            capture_output=True,
            text=True,
            timeout=400,
        )


def build(folder: Path, source: Path = REPO, *, sdist: bool = False) -> Path:
    """Build a wheel (or a source archive) as an installer does, in an environment of its own; return the file."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    if sdist:
        program = "import sys; from hatchling.build import build_sdist; build_sdist(sys.argv[1])"
        tools = folder / "tools"
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", tools, "hatchling"], check=True)
        command = [sys.executable, "-c", program, str(folder)]
        subprocess.run(command, cwd=source, env={**os.environ, "PYTHONPATH": str(tools)}, check=True, capture_output=True)
        return next(folder.glob("*.tar.gz"))
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 and "hatchling" in done.stderr and "No matching distribution" in done.stderr:
        pytest.skip("hatchling cannot be fetched here")
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """This environment's packages as they are (hard links: quick, and visible in sandboxes), and dojo from the wheel."""
    place = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / "venv"], check=True)
    python = place / "venv" / "bin" / "python"
    where = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip())
    own = Path(sysconfig.get_path("purelib"))
    if own.stat().st_dev != packages.stat().st_dev:
        pytest.skip("the temporary folder is on another disk than this environment: its packages would be copied whole")
    shutil.copytree(
        own, packages, ignore=shutil.ignore_patterns(*NOT_PACKAGES), copy_function=os.link, dirs_exist_ok=True, symlinks=True
    )
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(command, check=True, env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"})
    (place / "empty").mkdir()
    return Installed(python, place / "empty")


def members(wheel: Path) -> set[str]:
    """Return what is in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())
