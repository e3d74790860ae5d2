"""Bringing a run, or its big parts, back: every byte compared with the manifest on the way."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harness.files import sha256_file
from harness.spec.errors import StoreError, UsageError
from harness.spec.progress import Progress
from harness.store.artefacts.dropped import HALF_FETCHED, dropped_parts, mark_dropped
from harness.store.artefacts.manifest import StoredFile, StoredRun, read_manifest
from harness.store.artefacts.place import Place
from harness.store.folders import Home
from harness.store.marks import MARKS_FILE, read_batch, write_batch
from harness.store.removal import Disk
from harness.store.run_dir import RunDir

_PRIVATE = "private"


@dataclass(frozen=True)
class Pulled:
    """What became of one run.

    Attributes:
        files: of the run, all of which are here now.
        brought: those that had to be fetched.
        bytes: of those.
    """

    run: str
    batch: str
    files: int
    brought: int
    bytes: int


@dataclass(frozen=True)
class Fault:
    """An object that is not what the manifest says; ``fault`` is ``missing`` or ``altered``."""

    path: str
    sha256: str
    fault: str


def pull_run(place: Place, home: Home, stored: StoredRun, say: Progress | None = None) -> Pulled:
    """Put a run's folder back; one that is here is completed where it is the same run at the same point.

    A folder appears whole or not at all; what a pull that was cut off had fetched is not fetched again.

    Raises:
        UsageError: what is here differs from what is there (code ``differs``); nothing was changed.
        StoreError: an object is missing or altered (codes ``artefact_missing``, ``artefact_altered``); the disk.
        MissingError: see `Place`.
    """
    target = home.run(stored.batch, stored.run)
    with Disk(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with (target.parent / f".pulling-{stored.run}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if target.is_dir():
                brought = _complete(place, RunDir(target), stored, say)
            else:
                partial = target.parent / f".pulling-{stored.run}"
                partial.mkdir(mode=0o700, exist_ok=True)
                brought = _bring(place, stored, stored.files, partial, say)
                _set_modes(stored, partial)
                partial.chmod(0o755)
                partial.rename(target)
            _write_batch(home, stored)
    return Pulled(stored.run, stored.batch, len(stored.files), len(brought), sum(file.size for file in brought))


def bring_parts(place: Place, run: RunDir, batch: str, parts: Iterable[str], say: Progress | None = None) -> None:
    """Fetch big parts of a run that are not here.

    Raises:
        StoreError: the run is not there (code ``artefact_missing``); otherwise as `pull_run`.
    """
    stored, wanted = read_manifest(place, batch, run.path.name), set(parts)
    if stored is None:
        raise StoreError(
            f"run {run.path.name} is not in {place.url}",
            hint="let DOJO_ARTEFACTS name the place where it was put",
            code="artefact_missing",
        )
    with Disk(run.path):
        # said before, so that one that is cut off is gone on with
        mark_dropped(run, tuple(dict.fromkeys([*dropped_parts(run), *sorted(wanted)])))
        _bring(place, stored, [file for file in stored.files if file.part in wanted], run.path, say)
        _set_modes(stored, run.path, wanted)
        mark_dropped(run, tuple(part for part in dropped_parts(run) if part not in wanted))


def faults(place: Place, stored: StoredRun, files: Iterable[StoredFile], say: Progress | None = None) -> list[Fault]:
    """Read objects of a run whole and return those that are not what its manifest says."""
    found, seen = [], set()
    for file in files:
        if file.sha256 in seen:
            continue
        seen.add(file.sha256)
        if say:
            say(f"{stored.run}: {file.path}")
        fault = _fault(place, stored, file)
        if fault:
            found.append(Fault(file.path, file.sha256, fault))
    return found


def _complete(place: Place, run: RunDir, stored: StoredRun, say: Progress | None) -> list[StoredFile]:
    """Fetch what is missing of a run that is here; marks are what people say here, and stay."""
    absent = []
    for file in stored.files:
        path = run.path / file.path
        if not path.is_file():
            absent.append(file)
        elif file.path != MARKS_FILE and not _is(path, file):
            raise UsageError(
                f"run {stored.run} is here already, and its {file.path} is another than in {place.url}",
                hint="nothing was changed; pull it into an empty DOJO_HOME to look at the other one",
                code="differs",
            )
    brought = _bring(place, stored, absent, run.path, say)
    _set_modes(stored, run.path, {file.part for file in absent})
    mark_dropped(run, ())
    return brought


def _bring(place: Place, stored: StoredRun, files: Iterable[StoredFile], folder: Path, say: Progress | None) -> list[StoredFile]:
    """Fetch those files that are not in ``folder`` yet, each of which appears whole."""
    brought = []
    for file in files:
        path = folder / file.path
        if path.is_file() and _is(path, file):
            continue
        if say:
            say(f"{stored.run}: {file.path} ({file.size} bytes)")
        _make_folders(folder, path.parent)
        _fetch(place, stored, file, path)
        brought.append(file)
    return brought


def _make_folders(root: Path, folder: Path) -> None:
    """Make a folder for its owner alone until all is there; one that was sealed is opened for what is missing in it."""
    if folder == root:
        return
    _make_folders(root, folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    if not folder.stat().st_mode & 0o200:
        folder.chmod(0o700)


def _fetch(place: Place, stored: StoredRun, file: StoredFile, path: Path) -> None:
    partial = path.parent / f"{HALF_FETCHED}{secrets.token_hex(6)}"
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            fault = _fault(place, stored, file, out)
            if fault:
                raise StoreError(
                    f"run {stored.run}: {file.path} in {place.url} is {fault} (object {file.sha256[:12]})",
                    hint=f"where the run's folder still is, `dojo artefacts push {stored.run} --anew` sends it again",
                    code=f"artefact_{fault}",
                )
            out.flush()
            os.fsync(out.fileno())
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def _fault(place: Place, stored: StoredRun, file: StoredFile, out: BinaryIO | None = None) -> str:
    """Read an object, into ``out`` if given; return what is wrong with it, "" where nothing is."""
    digest, size = hashlib.sha256(), 0
    try:
        for piece in place.stream(stored.key(file.sha256)):
            digest.update(piece)
            size += len(piece)
            if size > file.size:
                break
            if out:
                out.write(piece)
    except FileNotFoundError:
        return "missing"
    return "" if size == file.size and digest.hexdigest() == file.sha256 else "altered"


def _is(path: Path, file: StoredFile) -> bool:
    return path.stat().st_size == file.size and sha256_file(path) == file.sha256


def _set_modes(stored: StoredRun, folder: Path, parts: set[str] | None = None) -> None:
    """Give files and folders (of some parts) the modes that they had; what is private is its owner's alone, whatever is said."""
    for file in stored.files:
        if parts is None or file.part in parts:
            (folder / file.path).chmod(file.mode & (0o600 if file.part == _PRIVATE else 0o777))
    for each in sorted(stored.folders, key=lambda each: each.path, reverse=True):  # the inner ones first
        if parts is None or each.part in parts:
            (folder / each.path).mkdir(parents=True, exist_ok=True)
            (folder / each.path).chmod(each.mode & (0o700 if each.part == _PRIVATE else 0o777))


def _write_batch(home: Home, stored: StoredRun) -> None:
    """Write down that the run is in its batch, in the order of the submit; runs that are not here are not named."""
    folder = home.batch(stored.batch)
    file = read_batch(folder)
    here = {*(file.runs if file else ()), stored.run}
    order = [run for run in stored.batch_file.runs if run in here]
    runs = (*order, *sorted(here - set(order)))
    write_batch(folder, (file or stored.batch_file).model_copy(update={"runs": runs}))
