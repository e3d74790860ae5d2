"""Which packages such a machine lacks: what the kit's run needs beyond torch, transformers, peft and accelerate."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# CUDA's builds of these are the machine's own affair. What only they need is there with them, in versions of its own.
THERE = ("torch", "transformers", "peft", "accelerate")
# Beside dojo's own dependencies: the agent's trainer, the grader of math/aime25, the small model's reader, the tests.
ROOTS = ("trl", "datasets", "lm-eval", "math-verify", "gguf", "pytest", "hypothesis")
# glibc's version in a wheel's name is compared as it stands, so all that are in use are said.
_PLATFORMS = (*(f"manylinux_2_{minor}_x86_64" for minor in (17, 24, 27, 28, 31, 34, 35)), "manylinux2014_x86_64")


def closure(roots: Iterable[str], python: str, without: Collection[str] = ()) -> dict[str, str]:
    """Return roots and all they need, name → the version that is installed here; ``without`` is not gone into.

    Args:
        roots: names of distributions.
        python: version of the Python they are for, as 3.12.
        without: names that are not wanted.

    Raises:
        LookupError: one is not installed here, so nobody knows which version works.
    """
    found: dict[str, str] = {}
    left = [(canonicalize_name(name), frozenset[str]()) for name in roots]
    seen = set()
    while left:
        name, extras = asked = left.pop()
        if name in without or asked in seen:
            continue
        seen.add(asked)
        try:
            found[name] = version(name)
            wanted = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError as exc:
            raise LookupError(f"{name} is not installed here: run `make setup` first") from exc
        for need in wanted:
            if _applies(need, python, extras):
                left.append((canonicalize_name(need.name), frozenset(need.extras)))
    return found


def _applies(need: Requirement, python: str, extras: Iterable[str]) -> bool:
    told = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux", "platform_machine": "x86_64"}
    return need.marker is None or any(need.marker.evaluate({**told, "extra": extra}) for extra in ("", *extras))


def lacking(requirements: Iterable[str], python: str, there: Iterable[str]) -> dict[str, str]:
    """Return what is to be packed, name → version.

    Args:
        requirements: dojo's own dependencies, as in pyproject.toml.
        python: as 3.12.
        there: names that the machine is known to have beside `THERE`.
    """
    own = [Requirement(line).name for line in requirements]
    has = {*(closure(THERE, python).keys() - closure(own, python).keys()), *map(canonicalize_name, there)}
    return closure([*own, *ROOTS], python, has)


def fetch(pins: Mapping[str, str], python: str, folder: Path) -> list[str]:
    """Put a wheel of each into ``folder`` where it is not yet; what has none is built, if that makes one for any machine.

    Returns:
        The wheels' names.

    Raises:
        RuntimeError: pip cannot, or a package comes as source with code for this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = []
    for name, pinned in sorted(pins.items()):
        wheel = _wheel(folder, name, pinned)
        if wheel is None:
            target = ["--python-version", python, "--implementation", "cp", *(w for p in _PLATFORMS for w in ("--platform", p))]
            failed = _pip("download", "--only-binary=:all:", *target, "--dest", str(folder), f"{name}=={pinned}")
            if failed:
                failed = _pip("wheel", "--wheel-dir", str(folder), f"{name}=={pinned}")
                wheel = _wheel(folder, name, pinned)
                if wheel is not None and not wheel.name.endswith("-none-any.whl"):
                    wheel.unlink()
            wheel = _wheel(folder, name, pinned)
            if wheel is None:
                raise RuntimeError(f"{name}=={pinned} has no wheel for Python {python} and cannot be built for it here: {failed}")
        kept.append(wheel.name)
    for old in set(folder.glob("*.whl")) - {folder / name for name in kept}:
        old.unlink()
    return kept


def _wheel(folder: Path, name: str, pinned: str) -> Path | None:
    for path in folder.glob("*.whl"):
        called, number = path.name.split("-")[:2]
        if canonicalize_name(called) == name and number == pinned.replace("-", "_"):
            return path
    return None


def _pip(verb: str, *arguments: str) -> str:
    """Run pip; return "" or the last line of what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", verb, "--no-deps", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return "" if done.returncode == 0 else re.sub(r"\s+", " ", lines[-1] if lines else f"exit code {done.returncode}")
