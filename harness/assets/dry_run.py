"""What preparing a task would fetch, said without fetching anything: `dojo data prepare TASK --dry-run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.assets.base_models import source_of
from harness.assets.hub import HubData, HubModel, is_mirrored
from harness.assets.package import PackageFile
from harness.assets.prepare import declared_fetches
from harness.assets.task_dir import Task
from harness.spec.base import Spec
from harness.spec.errors import MissingError

_UNKNOWN = "not known before it is fetched"


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
    model = source_of(base_model)
    if model is not None:
        there = cache / "models" / base_model
        found.append(_of(model, cache).model_copy(update={"what": f"base model {base_model}", **_state(there)}))
    return found


def _of(source: Any, cache: Path) -> Fetch:
    if isinstance(source, PackageFile):
        there = cache / "packages" / f"{source.name}-{source.version}"
        return Fetch(
            what=source.pin, kind="package", files=source.members, licence=source.licence,
            revision=f"sha256 {source.sha256[:12]}", pinned=True, **_state(there),
        )  # fmt: skip
    if isinstance(source, HubModel):
        return Fetch(
            what=source.repo, kind="hub model", files=(), licence=source.licence, revision=source.commit, pinned=True,
            **_state(cache / "models" / source.repo),
        )  # fmt: skip
    assert isinstance(source, HubData)
    if is_mirrored("datasets", source.repo):
        return _hub(source, "the mirror's", True, {"state": "in the mirror", "size": _UNKNOWN})
    try:
        revision = source.revision()
    except MissingError as exc:
        return _hub(source, f"none: {exc.hint}", False, {"state": "cannot be fetched yet", "size": _UNKNOWN})
    return _hub(source, revision, True, _state(cache / "hub" / "datasets" / source.repo.replace("/", "--") / revision))


def _hub(source: HubData, revision: str, pinned: bool, state: dict[str, str]) -> Fetch:
    return Fetch(
        what=source.repo, kind="hub data", files=source.files, licence=source.licence, revision=revision, pinned=pinned, **state
    )


def _state(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        return {"state": "to be fetched", "size": _UNKNOWN}
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"state": "in the cache", "size": f"{size / 1e6:.1f} MB"}
