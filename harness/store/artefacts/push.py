"""Putting a run that has ended there: each content once, the manifest last, and again from where it was cut off."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.files import sha256_file
from harness.spec.errors import StoreError
from harness.spec.progress import Progress
from harness.spec.run import RunSpec
from harness.store.artefacts.dropped import HALF_FETCHED, MARKER, dropped_parts
from harness.store.artefacts.manifest import StoredFile, StoredFolder, StoredRun, read_manifest, write_manifest
from harness.store.artefacts.place import Place
from harness.store.marks import MARKS_FILE, BatchFile, read_batch
from harness.store.run_dir import RunDir

# What a killed grader or collector left half made in private/; a run that has ended has no use for it.
_HALF_MADE = ("incoming-", "base-")


@dataclass(frozen=True)
class Pushed:
    """What became of one run.

    Attributes:
        files: of the run, all of which are there now.
        bytes: of them.
        sent: objects that had to be sent for it.
        sent_bytes: of them.
    """

    run: str
    files: int
    bytes: int
    sent: int
    sent_bytes: int
    left_out: tuple[str, ...]


def push_run(place: Place, run: RunDir, say: Progress | None = None, *, anew: bool = False) -> Pushed:
    """Put a run's folder there as it is now; what is there already is not sent again.

    Whoever calls holds the run's lease, or knows that nobody writes the folder.

    Args:
        place: where.
        run: a run that has ended.
        say: hears of each file that is sent.
        anew: send everything, as if nothing were there.

    Raises:
        MissingError: the place does not answer, or refuses.
        StoreError: the folder cannot be read, a file changed meanwhile (code ``changed``), or the run's big parts were dropped
            here and are not in this place (code ``artefact_missing``).
    """
    spec = run.spec()
    # an altered manifest is written over only when that is asked for
    former = None if anew else read_manifest(place, spec.batch, spec.id)
    here = list_files(run)
    before = _elsewhere(place, run, spec, here)
    files, folders = {file.path: file for file in before.files}, {folder.path: folder for folder in before.folders}
    files |= {file.path: file for file in here.files}
    folders |= {folder.path: folder for folder in here.folders}
    stored = StoredRun(
        run=spec.id,
        batch=spec.batch,
        batch_file=_batch_file(run, spec),
        folders=tuple(folders[path] for path in sorted(folders)),
        files=tuple(files[path] for path in sorted(files)),
        left_out=tuple(here.left_out),
    )
    there: Mapping[str, int | None] = {} if anew else place.listing(stored.folder)
    sent = [file for file in {file.sha256: file for file in here.files}.values() if there.get(file.sha256) != file.size]
    for file in sent:
        if say:
            say(f"{spec.id}: {file.path} ({file.size} bytes)")
        _send(place, stored, file, run.path / file.path)
    if former != stored:
        write_manifest(place, stored)
    return Pushed(spec.id, len(stored.files), stored.bytes, len(sent), sum(file.size for file in sent), stored.left_out)


@dataclass
class Listed:
    """What lies in a run's folder; ``left_out`` names what is no plain file, or whose name is no text."""

    files: list[StoredFile] = field(default_factory=list)
    folders: list[StoredFolder] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def is_current(place: Place, run: RunDir, batch: str) -> bool:
    """Whether a run is there as it is here, by the length of what grows with everything that happens to it: events and marks.

    Raises:
        StoreError, MissingError: as `read_manifest`.
    """
    stored = read_manifest(place, batch, run.path.name)
    sizes = {file.path: file.size for file in stored.files} if stored else {}
    told = (run.events_path, run.path / MARKS_FILE)
    return bool(sizes) and all(sizes.get(path.name) == (path.stat().st_size if path.exists() else None) for path in told)


def list_files(run: RunDir, parts: Iterable[str] | None = None) -> Listed:
    """Read some parts of a run's folder (a part is a folder or a file at its top), or all; a part that is not there is nothing.

    Raises:
        StoreError: it cannot be read.
    """
    found = Listed()
    try:
        names = sorted(entry.name for entry in run.path.iterdir()) if parts is None else parts
        for name in names:
            if name != MARKER:
                _look(run.path, run.path / name, found)
    except OSError as exc:
        raise _unreadable(exc, run.path) from exc
    return found


def _look(root: Path, path: Path, found: Listed) -> None:
    if path.name.startswith(HALF_FETCHED):
        return
    name = path.relative_to(root).as_posix()
    try:
        name.encode()
        status = path.lstat()
    except UnicodeEncodeError:
        found.left_out.append(ascii(name))
        return
    except FileNotFoundError:
        return
    mode = stat.S_IMODE(status.st_mode) & 0o777
    if stat.S_ISDIR(status.st_mode):
        found.folders.append(StoredFolder(path=name, mode=mode))
        for entry in sorted(path.iterdir()):
            if not (name == "private" and entry.name.startswith(_HALF_MADE)):
                _look(root, entry, found)
    elif stat.S_ISREG(status.st_mode):
        found.files.append(StoredFile(path=name, size=status.st_size, sha256=sha256_file(path), mode=mode))
    else:
        found.left_out.append(name)


def _elsewhere(place: Place, run: RunDir, spec: RunSpec, here: Listed) -> Listed:
    """Return what of the run was dropped here, and is there."""
    parts = dropped_parts(run)
    if not parts:
        return Listed()
    before = read_manifest(place, spec.batch, spec.id)
    there, local = place.listing(f"{spec.batch}/{spec.id}"), {file.sha256 for file in here.files}
    files = [file for file in before.files if file.part in parts] if before else []
    if before is None or any(there.get(file.sha256) != file.size for file in files if file.sha256 not in local):
        raise StoreError(
            f"run {spec.id}: {', '.join(parts)} were dropped here and are not whole in {place.url}",
            hint="let DOJO_ARTEFACTS name the place where they were put",
            code="artefact_missing",
        )
    return Listed(files, [folder for folder in before.folders if folder.part in parts])


def _send(place: Place, stored: StoredRun, file: StoredFile, path: Path) -> None:
    key = stored.key(file.sha256)
    try:
        place.send(key, path)
        same = path.lstat().st_size == file.size and sha256_file(path) == file.sha256
    except OSError as exc:
        raise _unreadable(exc, path) from exc
    if not same:
        place.remove(key)
        raise StoreError(f"{path} changed while it was sent", hint=f"`dojo artefacts push {stored.run}` again", code="changed")


def _batch_file(run: RunDir, spec: RunSpec) -> BatchFile:
    found = read_batch(run.path.parents[1]) if run.path.parent.name == "runs" else None
    return found or BatchFile(created=spec.created, runs=(spec.id,))


def _unreadable(exc: OSError, path: Path) -> StoreError:
    return StoreError(
        f"cannot read {os.fsdecode(exc.filename or path)!a}: {exc.strerror}", hint="check the permissions of the run's folder"
    )
