"""Wheels fetched on the host, with the host's own pip settings, for builds that reach no package index."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

from harness.sandbox.images.definition import Image
from harness.spec.errors import MissingError

Say = Callable[[str], None]
_CUDA = ("nvidia_", "triton-", "cuda_")
_PYTHON = "311"


def fetch_wheels(image: Image, cache: Path, say: Say) -> Path:
    """Return a folder with a wheel of everything the image wants; what is there already is not fetched again.

    Raises:
        MissingError: pip cannot get them, or would take a CUDA build for the variant cpu.
    """
    lines, constraints = image.requirements(), image.constraints()
    key = hashlib.sha256("\n".join([*lines, constraints]).encode()).hexdigest()[:16]
    folder = cache / "wheels" / f"{image.name}-{image.variant}-{key}"
    if (folder / "complete").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "requirements.txt").write_text("\n".join(["pip", *lines]) + "\n")
    (folder / "constraints.txt").write_text(constraints)
    say(f"fetching wheels for {image.tag}")
    wanted = ["-c", str(folder / "constraints.txt"), "-r", str(folder / "requirements.txt")]
    done = _pip("download", "--only-binary=:all:", "--python-version", _PYTHON, "--dest", str(folder), *wanted)
    if done.returncode:  # something has no wheel and is built here, which pip does only for its own Python
        done = _pip("wheel", "--wheel-dir", str(folder), *wanted)
    if done.returncode:
        raise MissingError(
            f"pip cannot fetch what {image.tag} wants: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}",
            hint="check pip's settings (index, certificate, find-links); what was fetched is kept, so run this again",
        )
    if image.variant != "cuda" and (taken := [p.name for p in folder.glob("*.whl") if p.name.startswith(_CUDA)]):
        raise MissingError(
            f"pip took a CUDA build of torch for {image.tag} ({taken[0]} and {len(taken) - 1} more)",
            hint="give pip the address of PyTorch's CPU builds (PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS), remove "
            f"{folder.name} from the cache's folder wheels, then try again",
        )
    (folder / "complete").touch()
    return folder


def _pip(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    quiet = ["--quiet", "--disable-pip-version-check"]
    return subprocess.run([sys.executable, "-m", "pip", command, *quiet, *arguments], capture_output=True, text=True, check=False)


def pack(folder: Path | None, target: Path) -> None:
    """Write a tar of the folder /wheels with what lies in ``folder``; an empty one for None."""
    with tarfile.open(target, "w") as tar:
        top = tarfile.TarInfo("wheels")
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(top)
        for wheel in sorted(folder.glob("*.whl")) if folder else ():
            tar.add(wheel, f"wheels/{wheel.name}")
