"""`dojo doctor`: what this machine has for running dojo, and what to do about what it lacks."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from harness.assets.base_models import find_base_model
from harness.executor.doctor_gateway import diagnose_gateway
from harness.executor.doctor_gpu import diagnose_gpu
from harness.executor.doctor_sandbox import diagnose_kubernetes, diagnose_sandbox
from harness.sandbox.base import Check
from harness.sandbox.registry import get_backend
from harness.session.hidden_places import check_modes, check_places, prepared_folders
from harness.spec.backbone import Backbone
from harness.spec.broken import Broken
from harness.spec.errors import DojoError, NotFoundError
from harness.store.artefacts.place import open_place

# A mini run writes some 100 MB and the cache holds 1 GB of model and data; below this, runs end in "disk full".
_MIN_FREE_GB = 5
_ML_PACKAGES = ("torch", "transformers", "peft", "trl", "datasets", "lm_eval", "rdkit", "math_verify", "optuna")


def diagnose(
    home: Path,
    cache: Path,
    sandbox: str,
    area: str | None = None,
    backbones: Mapping[str, Backbone | Broken] = MappingProxyType({}),
    places: Mapping[str, Path] = MappingProxyType({}),
    artefacts: str = "",
) -> list[Check]:
    """Run the checks of one area, or of all that matter on this machine.

    Args:
        home: results directory.
        cache: models and data.
        sandbox: the backend runs use by default.
        area: host, sandbox, data, gpu, docker, k8s, gateway or artefacts; None: host, sandbox, data, and artefacts where a place
            is named.
        backbones: of dojo.toml.
        places: what must not be shown in sandboxes, in words, and the folders it lies in; default results and cache.
        artefacts: address of the place where runs that have ended are put.

    Raises:
        NotFoundError: there is no such area.
    """
    areas: dict[str, Callable[[], list[Check]]] = {
        "host": lambda: _host(home, cache),
        "sandbox": lambda: diagnose_sandbox(get_backend(sandbox)),
        "data": lambda: [
            *_data(cache),
            check_places(places or {"cache": cache, "results": home}, get_backend(sandbox)),
            check_modes(cache, prepared_folders(cache)),
        ],
        "gpu": diagnose_gpu,
        "docker": lambda: get_backend("docker").check(),
        "k8s": lambda: diagnose_kubernetes(get_backend("kubernetes")),
        "gateway": lambda: diagnose_gateway(backbones, os.environ),
        "artefacts": lambda: [_artefacts(artefacts)],
    }
    if area is not None and area not in areas:
        raise NotFoundError.named("doctor area", area, list(areas))
    chosen = [area] if area else ["host", "sandbox", "data", *(["artefacts"] if artefacts else [])]
    return [check for name in chosen for check in areas[name]()]


def _host(home: Path, cache: Path) -> list[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    missing = [name for name in _ML_PACKAGES if importlib.util.find_spec(name) is None]
    checks = [
        Check("python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer"),
        Check(
            "packages",
            not missing,
            "missing: " + ", ".join(missing) if missing else "torch, transformers, peft, trl, lm-eval and the rest are there",
            "pip install 'dojo-bench[ml]' (in a checkout: make setup)",
        ),
        Check("cores", True, f"{len(os.sched_getaffinity(0))} CPU cores"),
    ]
    for name, folder in (("results", home), ("cache", cache)):
        there = next(parent for parent in [folder, *folder.parents] if parent.exists())
        free = shutil.disk_usage(there).free / 1e9
        why = ", not writable" if not os.access(there, os.W_OK) else "" if there.is_dir() else f", but {there} is no directory"
        checks.append(
            Check(
                f"{name} directory",
                free >= _MIN_FREE_GB and not why,
                f"{folder}: {free:.1f} GB free{why}",
                f"free {_MIN_FREE_GB} GB or set DOJO_{'HOME' if name == 'results' else 'CACHE'} elsewhere",
            )
        )
    return checks


def _artefacts(url: str) -> Check:
    try:
        open_place(url).try_it()
    except DojoError as exc:
        return Check("artefacts", False, exc.message, exc.hint)
    return Check("artefacts", True, f"{url}: written, read and deleted")


def _data(cache: Path) -> list[Check]:
    try:
        model = find_base_model("smol", cache)
    except DojoError as exc:
        return [Check("base model smol", False, exc.message, exc.hint or "run `dojo data prepare math/aime25 --profile mini`")]
    return [Check("base model smol", True, f"digest {model.digest[:12]}")]
