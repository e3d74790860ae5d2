"""What a place says of one run: its files with their digests and modes, and enough of its batch to put it back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from harness.spec.base import Spec
from harness.spec.errors import StoreError
from harness.spec.toml import describe
from harness.store.artefacts.place import Place
from harness.store.marks import BatchFile

_END = ".json"


def _plain(path: str) -> str:
    if path != "/".join(PurePosixPath(path).parts) or path.startswith("/") or not path or "\0" in path or ".." in path.split("/"):
        raise ValueError("is no plain relative path")
    return path


class StoredFolder(Spec):
    """One folder of a run."""

    path: str
    mode: int = Field(ge=0, le=0o777)

    _checked = field_validator("path")(_plain)

    @property
    def part(self) -> str:
        """Its first folder, or its name where it lies at the top."""
        return self.path.partition("/")[0]


class StoredFile(StoredFolder):
    """One file of a run; its content is the object called by its digest."""

    size: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class StoredRun(Spec):
    """A run's manifest."""

    format: Literal[1] = 1
    run: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    batch: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    batch_file: BatchFile = Field(description="batch.json when the run was put there")
    folders: tuple[StoredFolder, ...] = ()
    files: tuple[StoredFile, ...]
    left_out: tuple[str, ...] = Field((), description="what is no plain file, or has a name that is no text")

    @property
    def bytes(self) -> int:
        """Of all files, equal ones counted each time."""
        return sum(file.size for file in self.files)

    @property
    def folder(self) -> str:
        """The key of the folder with its objects."""
        return f"{self.batch}/{self.run}"

    def key(self, sha256: str) -> str:
        """The key of one of its objects."""
        return f"{self.folder}/{sha256}"

    def objects(self) -> dict[str, StoredFile]:
        """Digest → the first file with that content."""
        found: dict[str, StoredFile] = {}
        for file in self.files:
            found.setdefault(file.sha256, file)
        return found


class _Signed(Spec):
    """A manifest as it is written; ``digest`` is the SHA-256 of the rest."""

    digest: str
    manifest: StoredRun


def manifest_key(batch: str, run: str) -> str:
    """Return the key of a run's manifest."""
    return f"{batch}/{run}{_END}"


def write_manifest(place: Place, stored: StoredRun) -> None:
    """Write a manifest: what makes a run whole there. Raises as `Place`."""
    signed = _Signed(digest=digest_of(stored), manifest=stored)
    place.write(manifest_key(stored.batch, stored.run), signed.model_dump_json(indent=1).encode())


def read_manifest(place: Place, batch: str, run: str) -> StoredRun | None:
    """Return a run's manifest; None where the run is not there, or was cut off on its way.

    Raises:
        StoreError: it is not what was written (code ``artefact_altered``), or another run's.
        MissingError: see `Place`.
    """
    data = place.read(manifest_key(batch, run))
    if data is None:
        return None
    try:
        signed = _Signed.model_validate_json(data)
        why = "" if digest_of(signed.manifest) == signed.digest else "its digest is another"
        if (signed.manifest.run, signed.manifest.batch) != (run, batch):
            why = f"it is of run {signed.manifest.run}"
    except ValidationError as exc:
        why = describe(exc)
    if why:
        raise StoreError(
            f"the manifest {manifest_key(batch, run)} in {place.url} is not what was written: {why}",
            hint=f"where the run's folder is, `dojo artefacts push {run} --anew` writes it again",
            code="artefact_altered",
        )
    return signed.manifest


def digest_of(stored: StoredRun) -> str:
    """Return the SHA-256 of all that a manifest says."""
    text = json.dumps(stored.model_dump(mode="json"), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def runs_there(place: Place) -> Iterator[tuple[str, str, bool]]:
    """Yield batch, run, and whether it is whole, of every run of which something is there, in the order of their ids."""
    for batch, size in sorted(place.listing().items()):
        if size is not None:
            continue
        names = place.listing(batch)
        whole = {name.removesuffix(_END) for name, bytes_ in names.items() if bytes_ is not None and name.endswith(_END)}
        begun = {name for name, bytes_ in names.items() if bytes_ is None}
        yield from ((batch, run, run in whole) for run in sorted(whole | begun))
