"""Building images: from a registry, or with nothing but Debian's packages and wheels, from the same Dockerfiles."""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

from harness.sandbox import engine
from harness.sandbox.images.definition import FOLDER, INPUTS_LABEL, Image, inputs_digest, project_files
from harness.sandbox.images.state import Locked, built, read_lock, up_to_date, write_lock
from harness.sandbox.images.wheels import Say, fetch_wheels, pack
from harness.spec.errors import MissingError

Way = Literal["registry", "offline"]
_NO_WHEELS = "dojo/wheels:none"
_SUITE = "bookworm"


def choose_way(image: Image, asked: str | None, say: Say) -> Way:
    """Return how to build: as asked; else from the registry where its base can be had, and offline where not."""
    root = image
    while root.parent is not None:
        root = root.parent
    if asked in ("registry", "offline"):
        return asked  # type: ignore[return-value]
    if built(root) is not None and (locked := read_lock().get(root.tag)):
        return "offline" if locked.way == "offline" else "registry"
    base = str(root.definition.from_)
    if _has(base):
        return "registry"
    pulled = subprocess.run([_docker(), "pull", "--quiet", base], capture_output=True, text=True, check=False)
    if pulled.returncode == 0:
        return "registry"
    reason = (pulled.stderr.strip().splitlines() or ["no reason given"])[-1]
    say(f"{base} cannot be pulled ({reason}); building from Debian's packages")
    return "offline"


def build(image: Image, way: Way, cache: Path, say: Say) -> bool:
    """Build the image if it is not up to date, after what it stands on; return whether anything was built.

    Raises:
        MissingError: a program, a package or a base is not to be had; says which and what to do.
    """
    below = image.parent
    if below is not None:
        build(below, way, cache, say)
    if up_to_date(image, built(image)):
        say(f"{image.tag} is up to date")
        return False
    base = below.tag if below is not None else _root(image, way, say)
    wheels, pip_args = _NO_WHEELS, ""
    if image.requirements() and way == "offline":
        wheels, pip_args = _wheels_image(image, fetch_wheels(image, cache, say)), "--no-index"
    elif image.requirements():
        _import(None, _NO_WHEELS)
        pip_args = os.environ.get("TORCH_PIP_ARGS", "")
    say(f"building {image.tag} on {base}")
    with tempfile.TemporaryDirectory(prefix="dojo-image-") as name:
        context = Path(name)
        _write_context(image, context)
        arguments = {"BASE": base}
        if image.requirements():
            arguments |= {"WHEELS": wheels, "PIP_ARGS": pip_args}
        _docker_build(image, context, arguments, way)
    if wheels != _NO_WHEELS:
        subprocess.run([_docker(), "rmi", wheels], capture_output=True, check=False)
    _lock(image, base, way)
    return True


def _write_context(image: Image, context: Path) -> None:
    shutil.copyfile(image.folder / "Dockerfile", context / "Dockerfile")
    (context / "requirements.txt").write_text("\n".join(image.requirements()) + "\n")
    (context / "constraints.txt").write_text(image.constraints())
    for path in project_files(image):
        target = context / "project" / path.relative_to(FOLDER)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)


def _docker_build(image: Image, context: Path, arguments: dict[str, str], way: Way) -> None:
    command = [_docker(), "build", "--progress=plain", "--tag", image.tag, "--label", f"{INPUTS_LABEL}={inputs_digest(image)}"]
    if way == "offline":
        command += ["--network", "none"]
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    done = subprocess.run([*command, str(context)], capture_output=True, text=True, check=False, env=_buildkit())
    if done.returncode:
        raise MissingError(
            f"{image.tag} cannot be built: {_reason(done.stderr)}",
            hint=f"the whole output: docker build with images/{image.name}/Dockerfile; `dojo doctor docker` looks at the engine",
        )


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if "error" in line.lower()]
    return " / ".join(lines[-3:])[:800] or output.strip()[-400:]


def _root(image: Image, way: Way, say: Say) -> str:
    """Return the foundation of an image that stands on none of ours: a registry's, or a Debian made here."""
    base = str(image.definition.from_)
    if way == "registry":
        return base
    if not image.definition.packages:
        raise MissingError(f"{image.tag} is built from a registry only (it stands on {base})", hint="give --from-registry")
    tag = f"dojo/debian:{_SUITE}"
    program = shutil.which("mmdebstrap")
    if program is None:
        raise MissingError(
            "mmdebstrap is not installed, which makes a base without a registry", hint="apt-get install mmdebstrap"
        )
    say(f"making {tag} from Debian's packages")
    with tempfile.TemporaryDirectory(prefix="dojo-debian-") as name:
        tar = Path(name) / "root.tar"
        command = [program, "--quiet", "--variant=minbase", f"--include={','.join(image.definition.packages)}"]
        command += ["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", _SUITE, str(tar)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingError(f"mmdebstrap failed: {_reason(done.stderr)}", hint="can this machine reach Debian's packages?")
        _import(tar, tag)
    return tag


def _wheels_image(image: Image, folder: Path) -> str:
    tag = f"dojo/wheels:{folder.name}"
    with tempfile.TemporaryDirectory(prefix="dojo-wheels-") as name:
        tar = Path(name) / "wheels.tar"
        pack(folder, tar)
        _import(tar, tag)
    return tag


def _import(tar: Path | None, tag: str) -> None:
    """Make an image of a tar; one with an empty folder /wheels for None."""
    if tar is None:
        with tempfile.TemporaryDirectory(prefix="dojo-wheels-") as name:
            pack(None, Path(name) / "empty.tar")
            _import(Path(name) / "empty.tar", tag)
        return
    done = subprocess.run([_docker(), "import", str(tar), tag], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingError(
            f"{tag} cannot be imported: {done.stderr.strip()[-300:]}", hint="is the engine's disk full? `docker system df`"
        )


def _lock(image: Image, base: str, way: Way) -> None:
    found = built(image)
    assert found is not None
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    entry = Locked(inputs=found.inputs, digest=found.digest, base=base, way=way, built=today, size_mb=found.size_mb)
    write_lock(read_lock() | {image.tag: entry})


def _has(tag: str) -> bool:
    return subprocess.run([_docker(), "image", "inspect", tag], capture_output=True, check=False).returncode == 0


def _buildkit() -> dict[str, str]:
    return {**os.environ, "DOCKER_BUILDKIT": "1"}


def _docker() -> str:
    """Return a docker program that can build with BuildKit.

    From version 23 on it needs its plugin buildx for that; older ones have it inside, so where several are installed any may do.

    Raises:
        MissingError: there is none.
    """
    engine.client()
    names = dict.fromkeys(f"{folder}/docker" for folder in os.environ.get("PATH", "").split(":") if folder)
    found = [name for name in names if os.access(name, os.X_OK)]
    for name in found:
        version = subprocess.run(
            [name, "version", "--format", "{{.Client.Version}}"], capture_output=True, text=True, check=False
        )
        old = version.stdout.split(".")[0].isdigit() and int(version.stdout.split(".")[0]) < 23
        if old or subprocess.run([name, "buildx", "version"], capture_output=True, check=False).returncode == 0:
            return name
    raise MissingError(
        "no docker program here can build with BuildKit" if found else "the docker program is not installed",
        hint="install Docker's plugin buildx (docker-buildx-plugin), or Debian's docker.io",
    )
