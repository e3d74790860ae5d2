"""Freeing a disk: big parts of a run go from here once it was read that they are whole elsewhere."""

from __future__ import annotations

from harness.spec.errors import StoreError
from harness.spec.progress import Progress
from harness.store.artefacts.dropped import PARTS, dropped_parts, mark_dropped
from harness.store.artefacts.manifest import StoredFile, read_manifest
from harness.store.artefacts.place import Place
from harness.store.artefacts.pull import faults
from harness.store.artefacts.push import list_files
from harness.store.removal import Disk, delete_folder
from harness.store.run_dir import RunDir


def drop_parts(place: Place, run: RunDir, batch: str, say: Progress | None = None, *, dry: bool = False) -> int:
    """Delete what is big in a run's folder and whole in the place, every byte of which is read there first.

    Args:
        place: where it has to be.
        run: a run that nobody drives.
        batch: its batch.
        say: hears of each object that is read.
        dry: delete nothing.

    Returns:
        The bytes that went, or would.

    Raises:
        StoreError: a part is not there as it is here; nothing was deleted.
        MissingError: see `Place`.
    """
    here, stored = list_files(run, PARTS), read_manifest(place, batch, run.path.name)
    if not here.files:
        return 0
    if stored is None:
        raise _not_there(run, f"it is not in {place.url}", "", "artefact_missing")
    known = {file.path: file for file in stored.files}
    if odd := [*here.left_out, *(file.path for file in here.files if not _same(file, known.get(file.path)))]:
        raise _not_there(run, f"{odd[0]} is not in {place.url} as it is here", "", "differs")
    if bad := faults(place, stored, here.files, say):
        raise _not_there(run, f"{bad[0].path} in {place.url} is {bad[0].fault}", " --anew", f"artefact_{bad[0].fault}")
    if not dry:
        there = [part for part in PARTS if (run.path / part).exists()]
        mark_dropped(run, tuple(dict.fromkeys([*dropped_parts(run), *there])))
        with Disk(run.path):
            for part in there:
                path = run.path / part
                delete_folder(path) if path.is_dir() else path.unlink()
    return sum(file.size for file in here.files)


def _same(here: StoredFile, there: StoredFile | None) -> bool:
    return there is not None and (here.size, here.sha256) == (there.size, there.sha256)


def _not_there(run: RunDir, why: str, how: str, code: str) -> StoreError:
    return StoreError(
        f"run {run.path.name} stays as it is: {why}", hint=f"`dojo artefacts push {run.path.name}{how}` first", code=code
    )
