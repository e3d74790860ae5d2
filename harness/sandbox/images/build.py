"""Building images: from a registry, or with nothing but Debian's packages and wheels, from the same Dockerfiles."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from harness.sandbox.images import program
from harness.sandbox.images.debian import fetched_packages, make_system
from harness.sandbox.images.definition import INPUTS_LABEL, Image, inputs_digest, project_files
from harness.sandbox.images.resolve import is_torch
from harness.sandbox.images.space import refuse_small_disk
from harness.sandbox.images.state import Locked, built, lock_path, read_lock, up_to_date, write_lock
from harness.sandbox.images.wheels import fetch_wheels, pack
from harness.spec.errors import MissingError
from harness.spec.progress import Progress

Way = Literal["registry", "offline"]
_NO_WHEELS = "dojo/wheels:none"
_CUDA_CHECK = Path("scripts") / "wants_cuda.py"


def choose_way(image: Image, asked: str | None, say: Progress) -> Way:
    """Return how to build: as asked; else as its foundation was built; else from the registry where that can be had."""
    if asked == "offline":
        return "offline"
    if asked == "registry":
        return "registry"
    foundation = image.foundation
    locked = read_lock(lock_path(foundation)).get(foundation.tag)
    if locked is not None and up_to_date(foundation, built(foundation)):
        return "offline" if locked.way == "offline" else "registry"
    base = str(foundation.definition.from_)
    why = "" if program.has_image(base) else program.pull(base)
    if why and foundation.definition.debian:
        say(f"{base} cannot be pulled ({why}); building from Debian's packages")
        return "offline"
    return "registry"


def build(image: Image, way: Way, cache: Path, say: Progress) -> bool:
    """Build the image if it is not up to date, after what it stands on; return whether anything was built.

    Two builds at once wait for each other.

    Raises:
        MissingError: a program, a package, a base or disk is not to be had; says which and what to do.
    """
    with _alone(cache, say):
        return _build(image, way, cache, say)


def _build(image: Image, way: Way, cache: Path, say: Progress) -> bool:
    below = image.parent
    if below is not None:
        _build(below, way, cache, say)
    before = built(image)
    if up_to_date(image, before):
        say(f"{image.tag} is up to date")
        return False
    refuse_small_disk(image, cache)
    if way == "offline" and image.variant == "cuda":
        raise MissingError(
            f"{image.tag} has a compiler from Debian and is built from a registry only",
            hint="dojo images build --variant cuda --from-registry",
        )
    base = below.tag if below is not None else _foundation(image, way, cache, say)
    wheels = _wheels(image, way, cache, say)
    say(f"building {image.tag} on {base}")
    with tempfile.TemporaryDirectory(prefix="dojo-image-") as name:
        context = Path(name)
        # before the files are copied: what changes in between then counts as not built
        arguments = ["--tag", image.tag, "--label", f"{INPUTS_LABEL}={inputs_digest(image)}"]
        _write_context(image, way, context, say)
        if way == "offline" or not (image.requirements() or image.packages()):
            arguments += ["--network", "none"]
        elif not program.has_bridge():
            say("the engine has no bridge network; the build uses the host's")
            arguments += ["--network", "host"]
        for variable, value in _build_arguments(image, way, base, wheels).items():
            arguments += ["--build-arg", f"{variable}={value}"]
        program.build_image([*arguments, str(context)], cache / "images" / f"{image.name}-{image.variant}.log", say)
    if wheels != _NO_WHEELS:
        program.remove_image(wheels)
    _lock(image, base, way)
    if before is not None:
        program.remove_image(before.digest)
    return True


@contextlib.contextmanager
def _alone(cache: Path, say: Progress) -> Iterator[None]:
    (cache / "images").mkdir(parents=True, exist_ok=True)
    with open(cache / "images" / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build is going on; waiting for its end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build_arguments(image: Image, way: Way, base: str, wheels: str) -> dict[str, str]:
    arguments = {"BASE": base}
    if image.packages() and way == "registry":
        arguments["PACKAGES"] = " ".join(image.packages())
    if image.requirements():
        arguments["WHEELS"] = wheels
        arguments["PIP_ARGS"] = "--no-index" if way == "offline" else ""
    if any(is_torch(line) for line in image.requirements()):
        arguments["VARIANT"] = image.variant
        arguments["TORCH_PIP_ARGS"] = os.environ.get("TORCH_PIP_ARGS", "") if way == "registry" else ""
    return arguments


def _write_context(image: Image, way: Way, context: Path, say: Progress) -> None:
    shutil.copyfile(image.folder / "Dockerfile", context / "Dockerfile")
    if image.requirements():
        # wheels were checked against their hashes when they were fetched, and those built from source have none
        pins = image.pins() if way == "registry" else None
        lines = [pin.line() for pin in pins.packages] if pins and pins.hashed else list(image.requirements())
        if way == "registry" and not (pins and pins.hashed):
            say(f"{image.tag}: no hashes are recorded for this machine; versions alone are pinned")
        (context / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (context / "constraints.txt").write_text(image.constraints(), encoding="utf-8")
        if torch := [line for line in lines if is_torch(line)]:
            (context / "torch.txt").write_text("\n".join(torch) + "\n", encoding="utf-8")
            shutil.copyfile(image.root / _CUDA_CHECK, context / _CUDA_CHECK.name)
    for path in project_files(image):
        target = context / "project" / path.relative_to(image.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)


def _foundation(image: Image, way: Way, cache: Path, say: Progress) -> str:
    """Return what an image stands on that stands on none of ours: a registry's, or a Debian made here."""
    base = str(image.definition.from_)
    if way == "registry":
        if not program.has_image(base) and (why := program.pull(base)):
            raise MissingError(f"{base} cannot be pulled: {why}", hint=_pull_hint(image))
        return base
    if not image.definition.debian:
        raise MissingError(f"{image.tag} is built from a registry only (it stands on {base})", hint="give --from-registry")
    suite = image.definition.suite
    say(f"making dojo/debian:{suite} from Debian's packages")
    packages = [*image.definition.debian, *image.packages()]
    with tempfile.TemporaryDirectory(prefix="debian-", dir=cache / "images") as name:
        tar = Path(name) / "root.tar"
        make_system(suite, packages, tar)
        with open(tar, "rb") as file:
            program.import_tar(lambda target: shutil.copyfileobj(file, target), f"dojo/debian:{suite}")
    return f"dojo/debian:{suite}"


def _pull_hint(image: Image) -> str:
    return "is the engine allowed to reach a registry?" + (" --offline needs none" if image.definition.debian else "")


def _wheels(image: Image, way: Way, cache: Path, say: Progress) -> str:
    """Return an image with a folder /wheels: of what was fetched on the host, or an empty one for a build that asks an index."""
    if not image.requirements():
        return _NO_WHEELS
    if way == "registry":
        program.import_tar(lambda target: pack(None, target), _NO_WHEELS)
        return _NO_WHEELS
    folder = fetch_wheels(image, cache, say)
    tag = f"dojo/wheels:{folder.name}"
    with fetched_packages(image, cache / "images", say) as debs:
        program.import_tar(lambda target: pack(folder, target, debs), tag)
    return tag


def _lock(image: Image, base: str, way: Way) -> None:
    found = built(image)
    assert found is not None
    if not image.pinned:
        return
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    entry = Locked(inputs=found.inputs, digest=found.digest, base=base, way=way, built=today, size_mb=found.size_mb)
    path = lock_path(image)
    write_lock(read_lock(path) | {image.tag: entry}, path)
