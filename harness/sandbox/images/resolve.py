"""What pip would install into an image, asked without installing.

``python -m harness.sandbox.images.resolve [IMAGE…]`` records it in `images/lock/`.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.sandbox.images.definition import Image, all_images
from harness.sandbox.images.pins import Pin, Pins, digest_of, normal, pin_path
from harness.spec.errors import DojoError, MissingError

_CPU_HINT = (
    "give pip the address of PyTorch's CPU builds (on PyTorch's page 'Start Locally', row CPU): "
    "TORCH_PIP_ARGS='--index-url ADDRESS'"
)


def torch_arguments() -> list[str]:
    """Return the user's arguments for pip's install of torch: ``$TORCH_PIP_ARGS``, as `make setup` has it."""
    return shlex.split(os.environ.get("TORCH_PIP_ARGS", ""))


def is_torch(requirement: str) -> bool:
    """Whether a line of requirements is torch itself."""
    return normal(requirement.split("==")[0].split(">")[0].strip()) == "torch"


def run_pip(*arguments: str) -> str:
    """Run this Python's pip with the host's settings; return why it failed, or nothing."""
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR")]
    telling = [line for line in errors if not line.startswith("ResolutionImpossible")]
    return (telling or done.stderr.strip().splitlines() or ["it gives no reason"])[-1]


def refuse_wrong_torch(image: Image) -> None:
    """Make sure that pip takes a build of torch that fits the image's variant, before anything is fetched.

    Raises:
        MissingError: it would take a CUDA build for cpu, or a CPU build for cuda, or finds none.
    """
    lines = [line for line in image.requirements() if is_torch(line)]
    if not lines:
        return
    with tempfile.TemporaryDirectory(prefix="dojo-torch-") as name:
        report = Path(name) / "torch.json"
        _report(image, report, "--no-deps", *torch_arguments(), *lines)
        asked = subprocess.run([sys.executable, str(image.root / "scripts" / "wants_cuda.py"), str(report)], check=False)
    found = "cuda" if asked.returncode == 0 else "cpu"
    if found != image.variant:
        raise MissingError(
            f"pip would take a {found} build of {lines[0]} for {image.tag}",
            hint=_CPU_HINT if image.variant == "cpu" else "let pip look at an index that has CUDA builds: the default one does",
        )


def resolve(image: Image) -> Pins:
    """Return every package that the image's requirements lead to, at the project's versions, with what pip's index says of them.

    Raises:
        MissingError: pip cannot find them, or would take the wrong build of torch.
    """
    refuse_wrong_torch(image)
    lines = image.requirements()
    with tempfile.TemporaryDirectory(prefix="dojo-resolve-") as name:
        wanted, constraints, report = (Path(name) / file for file in ("requirements.txt", "constraints.txt", "report.json"))
        # a list that is whole goes into a venv of its own, by the pip of the image below
        whole = bool(image.definition.listed)
        wanted.write_text("\n".join([*(() if whole else ("pip",)), *lines]) + "\n", encoding="utf-8")
        constraints.write_text(image.project_constraints(), encoding="utf-8")
        _report(image, report, "-c", str(constraints), "-r", str(wanted), *(("--no-deps",) if whole else ()))
        found = [_pin(package) for package in json.loads(report.read_bytes())["install"]]
    return Pins(digest_of(lines), platform.machine(), tuple(sorted(found, key=lambda pin: pin.name)))


def _report(image: Image, report: Path, *arguments: str) -> None:
    python = image.definition.python
    if python != f"{sys.version_info.major}.{sys.version_info.minor}":  # pip builds nothing for another Python than its own
        arguments = ("--python-version", python, "--only-binary=:all:", "--target", str(report.parent / "nowhere"), *arguments)
    failed = run_pip("install", "--dry-run", "--ignore-installed", "--report", str(report), *arguments)
    if failed:
        raise MissingError(
            f"pip cannot find what {image.tag} wants: {failed}", hint="check pip's settings: index, certificate, find-links"
        )


def _pin(package: dict[str, Any]) -> Pin:
    """Return one package of pip's report. A local version (2.13.0+cpu) is left out: the hash says which file it is."""
    download = package["download_info"]
    return Pin(
        name=normal(package["metadata"]["name"]),
        version=package["metadata"]["version"].split("+")[0],
        sha256=download["archive_info"]["hashes"]["sha256"],
        source=not download["url"].split("#")[0].endswith(".whl"),
    )


def main(names: Sequence[str]) -> int:
    """Write the pins of the images named, or of all, but for CUDA: only a machine with its index can ask for that."""
    lockable = [image for image in all_images() if image.variant != "cuda" and image.pinned and image.requirements()]
    if unknown := set(names) - {image.name for image in lockable}:
        print(f"error: no pinned image {sorted(unknown)}\nhint: {[image.name for image in lockable]}", file=sys.stderr)
        return 2
    for image in lockable:
        if names and image.name not in names:
            continue
        path = pin_path(image.root, image.name, image.variant)
        path.parent.mkdir(exist_ok=True)
        try:
            path.write_text(resolve(image).text(), encoding="utf-8")
        except DojoError as exc:
            print(f"error: {exc.message}\nhint: {exc.hint}", file=sys.stderr)
            return exc.exit_code
        print(path.relative_to(image.root), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
