"""Wheels fetched on the host, with the host's own pip settings, for builds that reach no package index."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from harness.sandbox.images.definition import Image
from harness.sandbox.images.pins import Pin, Pins
from harness.sandbox.images.resolve import refuse_wrong_torch, resolve, run_pip, torch_arguments
from harness.spec.errors import MissingError
from harness.spec.progress import Progress


def pins_for(image: Image, say: Progress) -> Pins:
    """Return the recorded packages of an image if they hold on this machine, else what pip's index says now.

    Raises:
        MissingError: pip cannot find them, or would take the wrong build of torch.
    """
    pins = image.pins()
    if pins and pins.hashed:
        refuse_wrong_torch(image)
        return pins
    if image.pinned:
        why = (
            f"its packages are recorded for {pins.machine} only"
            if pins
            else "its packages are not recorded, or for other requirements"
        )
        say(f"{image.tag}: {why}; asking pip (python -m harness.sandbox.images.resolve records what it says)")
    return resolve(image)


def fetch_wheels(image: Image, cache: Path, say: Progress) -> Path:
    """Return a folder with a wheel of everything the image wants, each checked against its hash.

    What is there already is not fetched again, be it for earlier versions of the project, whose folders then go.

    Raises:
        MissingError: pip cannot get them, gets other files than recorded, or would take the wrong build of torch.
    """
    key = hashlib.sha256("\n".join([*image.requirements(), image.constraints()]).encode()).hexdigest()[:16]
    folder = cache / "wheels" / f"{image.name}-{image.variant}-{key}"
    if (folder / "complete").exists():
        return folder
    pins = pins_for(image, say)
    say(f"fetching {len(pins.packages)} wheels for {image.tag}")
    folder.mkdir(parents=True, exist_ok=True)
    torch = [pin for pin in pins.packages if pin.name == "torch"]
    ready = [pin for pin in pins.packages if pin.name != "torch" and not pin.source]
    earlier = [path for path in folder.parent.glob(f"{image.name}-{image.variant}-*") if path != folder]
    known = [word for path in earlier for word in ("--find-links", str(path))]
    binary = ("download", "--only-binary=:all:", "--python-version", image.definition.python, "--dest", str(folder), *known)
    _fetch(image, folder, torch, *binary, *torch_arguments())
    _fetch(image, folder, ready, *binary)
    _fetch(image, folder, [pin for pin in pins.packages if pin.source], "wheel", "--wheel-dir", str(folder))
    (folder / "complete").touch()
    for path in earlier:
        shutil.rmtree(path)
    return folder


def _fetch(image: Image, folder: Path, pins: Iterable[Pin], *arguments: str) -> None:
    lines = [pin.line() for pin in pins]
    if not lines:
        return
    wanted = folder / "requirements.txt"
    wanted.write_text("\n".join(lines) + "\n", encoding="utf-8")
    failed = run_pip(*arguments, "--no-deps", "--require-hashes", "-r", str(wanted))
    if failed:
        raise MissingError(
            f"pip cannot fetch what {image.tag} wants: {failed}",
            hint="check pip's settings (index, certificate, find-links); what was fetched is kept, so run this again",
        )


def pack(folder: Path | None, target: IO[bytes], debs: Sequence[Path] = ()) -> None:
    """Write a tar of the folder /wheels with the wheels of ``folder`` and the Debian packages ``debs``; empty without any."""
    with tarfile.open(mode="w|", fileobj=target) as tar:
        top = tarfile.TarInfo("wheels")
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(top)
        for file in [*(sorted(folder.glob("*.whl")) if folder else ()), *debs]:
            tar.add(file, f"wheels/{file.name}")
