"""Which engine a grader generates with, decided by the task's profile, the user's word and the machine."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from harness.sandbox.base import Backend, Mount, is_of_images
from harness.sandbox.images import reference
from harness.spec.engine import EngineName, EngineWish
from harness.spec.errors import EngineMissing, UsageError

VARIABLE, PYTHON = "DOJO_GRADER_ENGINE", "DOJO_VLLM_PYTHON"
# Where a sandbox is shown a venv of this host that it does not have anyway, and where the image `IMAGE` has its own.
PLACE = "/opt/vllm"
IMAGE = "grader-vllm"
_REMEDY = (
    f"name a Python in which `import vllm` works in {PYTHON} (scripts/vllm_cpu.sh makes one for a CPU and prints it), "
    f"or take {VARIABLE}=transformers"
)
_ASK_S = 60


@dataclass(frozen=True)
class GraderEngine:
    """An engine that was chosen.

    Attributes:
        name: what it is.
        python: for vLLM the interpreter that has it, as this host or an image calls it.
        image: what graders' sandboxes are made of, where they are made of images.
    """

    name: EngineName
    python: str = ""
    image: str = "grader"

    def options(self, backend: Backend) -> list[str]:
        """Return what the worker is told of it."""
        if self.name == "transformers":
            return []
        place = self.python if is_of_images(backend) else _shown(self.python, backend)[0]
        return ["--engine", self.name, "--engine-python", place]

    def mounts(self, backend: Backend) -> list[Mount]:
        """Return what a grader's sandbox must be shown beside its system.

        Raises:
            EngineMissing: there is no such Python.
        """
        return [] if self.name == "transformers" or is_of_images(backend) else _shown(self.python, backend)[1]


def choose_engine(
    wish: EngineWish,
    gpus: int,
    backend: Backend | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    here: bool | None = None,
) -> GraderEngine:
    """Choose an engine.

    Args:
        wish: of the task's profile; `VARIABLE` in ``environ`` overrides it.
        gpus: how many the grader has.
        backend: where it will run; None: in this host's system.
        environ: default this process's.
        here: whether this very Python has vLLM; default: it is looked for.

    Raises:
        UsageError: `VARIABLE` is no engine.
        EngineMissing: vLLM is wanted and is not to be had.
    """
    environ = os.environ if environ is None else environ
    said = environ.get(VARIABLE) or wish
    if said not in get_args(EngineWish):
        raise UsageError(f"{VARIABLE}={said!r} is no engine", hint=f"one of {', '.join(get_args(EngineWish))}")
    wanted = cast(EngineWish, said)
    if wanted == "transformers" or (wanted == "auto" and not gpus):
        return GraderEngine("transformers")
    if is_of_images(backend):
        return _of_image(wanted, gpus, backend, environ)
    python = environ.get(PYTHON) or (sys.executable if (_has_vllm() if here is None else here) else "")
    if python:
        return GraderEngine("vllm", python)
    if wanted == "auto":
        return GraderEngine("transformers")
    raise EngineMissing("vLLM is asked for to grade with, and it is not here", hint=_REMEDY)


def handed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a process elsewhere must be told to choose as this one does; a Python of this host means nothing there."""
    python = environ.get(PYTHON, "")
    told = {VARIABLE: environ.get(VARIABLE, ""), PYTHON: "" if os.path.exists(python) else python}
    return {name: value for name, value in told.items() if value}


def _of_image(wanted: EngineWish, gpus: int, backend: Any, environ: Mapping[str, str]) -> GraderEngine:
    """Choose where sandboxes are made of images: vLLM is in one of its own, at a place that is the same in each.

    Raises:
        EngineMissing: vLLM is asked for, and the image is known to be missing.
    """
    there: bool | None = backend.has_image(IMAGE, gpus)
    if wanted == "auto" and not there:
        return GraderEngine("transformers")
    if there is False:
        variant = "cuda" if gpus else "cpu"
        raise EngineMissing(
            f"vLLM is asked for to grade with, and {backend.name} has no image {reference(IMAGE, variant)}",
            hint=f"dojo images build {IMAGE}{' --variant cuda' * bool(gpus)}, or take {VARIABLE}=transformers",
        )
    return GraderEngine("vllm", handed_on(environ).get(PYTHON) or f"{PLACE}/bin/python", IMAGE)


def _has_vllm() -> bool:
    return importlib.util.find_spec("vllm") is not None


def _shown(python: str, backend: Backend) -> tuple[str, list[Mount]]:
    """Return what an interpreter of this host is called inside, and what is mounted for that."""
    shows = getattr(backend, "shows", None)
    if not os.path.exists(python):
        raise EngineMissing(f"{PYTHON}={python!r} does not exist", hint=_REMEDY)
    prefix, base = _prefixes(python)
    mounts = []
    if shows is None or not shows(Path(base, "bin")):
        mounts.append(Mount(Path(base), base))
    if prefix == base or (shows is not None and shows(Path(prefix, "bin"))):
        return python, mounts
    return f"{PLACE}/bin/{Path(python).name}", [*mounts, Mount(Path(prefix), PLACE)]


@functools.cache
def _prefixes(python: str) -> tuple[str, str]:
    """Return where an interpreter's packages and where the Python that it was made from lie.

    Raises:
        EngineMissing: it does not run, or has no vLLM.
    """
    code = "import importlib.util, json, sys; has = bool(importlib.util.find_spec('vllm'))\n"
    code += "print(json.dumps([sys.prefix, sys.base_prefix, has]))"
    try:
        told = subprocess.run([python, "-I", "-c", code], capture_output=True, timeout=_ASK_S, check=True)
        prefix, base, has = json.loads(told.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as exc:
        raise EngineMissing(f"{PYTHON}={python!r} cannot be run: {exc}", hint=_REMEDY) from exc
    if not has:
        raise EngineMissing(f"{PYTHON}={python!r} has no vllm", hint=_REMEDY)
    return str(prefix), str(base)
