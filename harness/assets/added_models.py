"""Base models that a user adds to the cache: by hub id and pinned commit, or from a folder. Runs then name them as any other.

There is no list beside the cache: a model's ``dojo-manifest.json`` says what it is, where it came from and what its files are.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from harness.assets.base_models import (
    BaseModel,
    is_model_name,
    known_base_models,
    known_source,
    prepare_base_model,
    read_base_model,
    write_manifest,
)
from harness.assets.catalogue import verify_cache
from harness.assets.model_folder import MANIFEST, licence_of, model_files
from harness.files import build_folder, sha256_file
from harness.spec.base import Spec
from harness.spec.errors import MissingError, NotFoundError, SpecError, UsageError
from harness.spec.progress import Progress
from harness.taskkit.building.hub import COMMIT, HubModel, fetch_model, mirror_folder

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}")
# How long the hub may take to say what a repository is today, in seconds.
_ANSWER_S = 10.0


class ListedModel(Spec):
    """A base model that runs can name, in the cache or still to be fetched."""

    name: str
    state: str = "in the cache"
    added: bool
    origin: str
    revision: str = ""
    licence: str
    parameters: int | None = None
    digest: str = ""
    bytes: int | None = None


def list_models(cache: Path) -> list[ListedModel]:
    """Return dojo's own base models and those that were added, by name."""
    names = {*known_base_models(), *(path.parent.name for path in (cache / "models").glob(f"*/{MANIFEST}"))}
    return [_listed(name, cache) for name in sorted(names)]


def add_model(
    source: str,
    cache: Path,
    *,
    name: str = "",
    revision: str = "",
    licence: str = "",
    progress: Progress | None = None,
) -> BaseModel:
    """Put a model into the cache, whole or not at all, and return it; one that is there already as asked is returned as it is.

    Args:
        source: a hub id (``org/name``), a folder, or the name of one of dojo's own base models.
        cache: the cache folder.
        name: what runs shall call it; default: the last part of ``source``, in small letters.
        revision: the commit of a hub id; default: the hub's today, which is pinned then.
        licence: of the weights; default: what the hub or the folder's README.md says.
        progress: told what takes long.

    Raises:
        UsageError: a name that is taken or no name, a revision that is no commit, a licence that nobody knows.
        SpecError: it is no model that can be used; see `model_folder.model_files`.
        MissingError: the hub does not answer, or there is no such folder.
    """
    if source in known_base_models():
        if name or revision or licence:
            raise UsageError(f"{source} is one of dojo's own base models, pinned already", hint=f"dojo models add {source}")
        return prepare_base_model(source, cache, progress)
    folder = Path(source).expanduser()
    local = folder.is_dir() or source.startswith((".", "/", "~"))
    if not local and not _HUB_ID.fullmatch(source):
        raise UsageError(f"{source!r} is neither a folder nor a hub id", hint="give org/name, or a Hugging Face directory")
    called = name or (folder.resolve().name if local else source.rpartition("/")[2]).lower()
    if not is_model_name(called) or called in known_base_models():
        taken = "one of dojo's own base models" if called in known_base_models() else "no name"
        raise UsageError(f"{called!r} is {taken}", hint="--name with letters, digits and . _ -, as qwen2.5-14b-mine")
    if local:
        if revision:
            raise UsageError("a folder has no revision: its digest pins it", hint="leave --revision out")
        return _from_folder(folder, cache, called, licence, progress)
    return _from_hub(source, cache, called, revision, licence, progress)


def verify_models(cache: Path, name: str | None = None) -> list[tuple[str, list[str]]]:
    """Compare files of base models in the cache with their checksums, and look for files that nobody listed.

    Returns:
        (name, problems) of each; one without problems is whole.

    Raises:
        MissingError: no model, or none of this name, is in the cache.
    """
    found = [
        (label.removeprefix("model "), [*problems, *_strangers(cache / "models" / label.removeprefix("model "))])
        for label, problems in verify_cache(cache, name)
        if label.startswith("model ")
    ]
    if not found:
        raise MissingError(f"no base model {name or ''}".rstrip() + " is in the cache", hint="see `dojo models list`")
    return found


def _from_folder(folder: Path, cache: Path, name: str, licence: str, progress: Progress | None) -> BaseModel:
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}", hint="give a Hugging Face directory, or org/name of the hub")
    files = model_files(folder)
    licence = _required(licence or licence_of(folder), str(folder))
    target, made = cache / "models" / name, False
    with build_folder(target) as part:
        if part is not None:
            for file in files:
                if progress:
                    progress(f"copying {file.name}: {file.stat().st_size / 1e6:.1f} MB")
                shutil.copyfile(file, part / file.name)
            model_files(part)  # what was copied, not what was looked at
            write_manifest(part, name, licence, {"folder": folder.resolve().name})
            made = True
    there = read_base_model(name, target)
    if not made and any(not _same(file, target / file.name) for file in files):
        raise _taken(name, target)
    return there


def _from_hub(repo: str, cache: Path, name: str, revision: str, licence: str, progress: Progress | None) -> BaseModel:
    if revision and not COMMIT.fullmatch(revision):
        raise UsageError(
            f"the revision {revision!r} is no commit: a branch or tag may move",
            hint="give 40 hexadecimal digits, or leave it out for today's commit, which is pinned then",
        )
    target = cache / "models" / name
    if (target / MANIFEST).is_file():
        origin = _origin(target)
        if origin.get("hub") != repo or (revision and origin.get("revision") != revision):
            raise _taken(name, target)
        return read_base_model(name, target)
    mirror = mirror_folder("models", repo)
    if mirror:
        # a mirror's files are what somebody put there: their digest pins them
        revision, licence = revision or "mirror", licence or licence_of(mirror)
    elif not revision or not licence:
        commit, said = _on_hub(repo, revision)
        revision, licence = revision or commit, licence or said
    licence = _required(licence, repo)
    with build_folder(target, keep=True) as part:
        if part is not None:
            fetch_model(HubModel(repo, revision, licence), part, progress)
            wanted = {file.name for file in model_files(part)}
            for file in part.iterdir():
                if file.name not in wanted and file.is_file():
                    file.unlink()
            write_manifest(part, name, licence, {"hub": repo, "revision": revision})
    return read_base_model(name, target)


def _on_hub(repo: str, revision: str) -> tuple[str, str]:
    """Ask the hub for a model's commit and licence; what it does not say of the licence is empty.

    Raises:
        MissingError: it does not answer, or has no such model.
    """
    from huggingface_hub import HfApi

    try:
        found = HfApi().model_info(repo, revision=revision or None, timeout=_ANSWER_S)
    except Exception as exc:  # the hub client raises from several libraries
        raise MissingError(
            f"the hub did not say what {repo} is ({type(exc).__name__})",
            hint="without a network: copy its folder here and `dojo models add FOLDER`, or set DOJO_HUB_MIRROR",
        ) from exc
    card: Any = found.card_data
    return str(found.sha), str((card.get("license") if card else "") or "")


def _required(licence: str, what: str) -> str:
    if not licence:
        raise UsageError(f"nothing says under which licence {what} may be used", hint="say it: --license NAME")
    return licence


def _same(file: Path, there: Path) -> bool:
    return there.is_file() and file.stat().st_size == there.stat().st_size and sha256_file(file) == sha256_file(there)


def _taken(name: str, target: Path) -> UsageError:
    return UsageError(f"another model is called {name} ({target})", hint="give this one another --name, or remove that folder")


def _origin(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / MANIFEST).read_bytes())["origin"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _strangers(folder: Path) -> list[str]:
    """Say which files lie in a model's folder that its manifest does not list: code, or weights that would be loaded too."""
    try:
        listed = {str(file["path"]) for file in json.loads((folder / MANIFEST).read_bytes())["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return []  # told already
    here = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return [f"{name} was not there when it was added" for name in sorted(here - listed - {MANIFEST})]


def _listed(name: str, cache: Path) -> ListedModel:
    folder, added = cache / "models" / name, name not in known_base_models()
    source = None if added else known_source(name)
    licence = source.licence if source else ""
    if source and not (folder / MANIFEST).is_file():
        origin, revision = (source.repo, source.commit) if isinstance(source, HubModel) else (f"package {source.package.pin}", "")
        return ListedModel(name=name, state="to be fetched", added=added, origin=origin, revision=revision, licence=licence)
    origin, revision = _words(_origin(folder))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    facts: dict[str, Any] = {"name": name, "added": added, "origin": origin, "revision": revision, "bytes": size}
    try:
        model = read_base_model(name, folder)
    except (MissingError, SpecError) as exc:
        return ListedModel(**facts, state=f"damaged: {exc.message}", licence=licence)
    return ListedModel(**facts, licence=model.licence, parameters=model.parameters, digest=model.digest)


def _words(origin: dict[str, Any]) -> tuple[str, str]:
    """Return where a model came from, and at which revision, as people read it."""
    if "hub" in origin:
        return str(origin["hub"]), str(origin.get("revision", ""))
    if "package" in origin:
        return f"package {origin['package']}", str(origin.get("gguf_sha256", ""))
    return f"folder {origin.get('folder', '')}".rstrip(), ""
