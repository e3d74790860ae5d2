"""The steps that make a bare machine ready: packages and the small model, from the kit's pieces."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from gpu_kit import pieces
from gpu_kit.packages import THERE
from gpu_kit.state import Options, Skipped


def install(options: Options) -> dict[str, Any]:
    """Add the wheels of packages that this Python lacks; what it has stays as it is.

    Raises:
        Skipped: there is no kit here.
        RuntimeError: a package that the kit cannot bring is not here either, or pip refuses.
    """
    missing = [name for name in THERE if not _has(name)]
    if missing:
        raise RuntimeError(f"{', '.join(missing)} not in {sys.executable}: start the kit with the Python that has CUDA's torch")
    if not (options.store / pieces.MANIFEST).is_file():
        raise Skipped("no kit was brought: this Python's own packages are used")
    here, packed = f"{sys.version_info[0]}.{sys.version_info[1]}", pieces.read(options.store)["python"]
    if packed != here:
        raise RuntimeError(f"the kit was packed for Python {packed} and this is {here}: scripts/gpu/pack --python {here}")
    pieces.join(options.store, options.content)
    wheels = sorted((options.content / "wheels").glob("*.whl"))
    wanted = [wheel for wheel in wheels if not _has(wheel.name.split("-")[0])]
    if wanted:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps"]
        done = subprocess.run([*pip, *map(str, wanted)], capture_output=True, text=True, check=False)
        if done.returncode:
            hint = "make a venv of your own with --system-site-packages and start the kit with its python"
            raise RuntimeError(f"pip cannot add packages to {sys.prefix}: {done.stderr.strip()[-500:]} ({hint})")
    return {"python": sys.version.split()[0], "added": [w.name for w in wanted], "there": len(wheels) - len(wanted)}


def model(options: Options) -> dict[str, Any]:
    """Make the small model in the kit's own cache; say whether it is, to the last bit, the one of where it was packed.

    Raises:
        Skipped: another model is named.
        DojoError: it cannot be made.
    """
    from harness.assets.base_models import prepare_base_model

    if options.base_model:
        raise Skipped(f"{options.base_model} is used")
    cache, packed = options.folder / "cache", options.content / "packages"
    for package in packed.iterdir() if packed.is_dir() else ():
        if not (cache / "packages" / package.name).is_dir():
            shutil.copytree(package, cache / "packages" / package.name)
    made = prepare_base_model("smol", cache, print)
    said = pieces.read(options.store)["model"]["digest"] if packed.is_dir() else None
    return {"digest": made.digest, "parameters": made.parameters, "as_packed": None if said is None else said == made.digest}


def _has(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False
