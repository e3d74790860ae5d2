"""What an agent left in its workspace, in one archive: nobody's tool finds a repository, a build file or a test in it unasked.

A folder full of an agent's files acts on who looks: `git status` runs what a planted ``.git/config`` names, a test run collects
a planted ``conftest.py``, an editor obeys ``.vscode``. In an archive they are data until somebody takes them out by name.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO

from harness.spec.errors import MissingError, NotFoundError, StoreError, UsageError

# A file of a workspace has at most 8 MB (`session.collect.WORKSPACE_CAPS`); who claims more is no archive of ours.
_FILE_BYTES = 16 * 1024 * 1024
# Made of text mostly; a better compression of 200 MB would take longer than all else at a run's end.
_LEVEL = 1
_BEGIN = 64 * 1024
# One moment for all members: the same files make the same archive.
_TIME = (2000, 1, 1, 0, 0, 0)
# Tools act on these unasked, whatever lies in them: hidden names, and what makes a folder git's.
_HIDDEN, _GIT = re.compile(r"(dot)*\."), re.compile(r"HEAD(\.txt)*", re.IGNORECASE)


def pack(folder: Path, archive: Path) -> None:
    """Put every file of a collected ``folder`` into ``archive``, which appears whole or not at all.

    Raises:
        StoreError: the disk is full, or the folder cannot be read.
    """
    partial = archive.with_name(f".{archive.name}.part")
    try:
        with partial.open("wb") as out:
            with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as made:
                for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
                    member = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _TIME)
                    member.external_attr = 0o100644 << 16
                    with path.open("rb") as source:
                        member.compress_type = zipfile.ZIP_DEFLATED if _shrinks(source) else zipfile.ZIP_STORED
                        with made.open(member, "w") as target:
                            shutil.copyfileobj(source, target)
            out.flush()
            os.fsync(out.fileno())
        partial.rename(archive)
    except OSError as exc:
        raise StoreError(
            f"{archive.name} cannot be written: {exc.strerror}", hint="free disk space, then `dojo resume`", code="store"
        ) from exc
    finally:
        partial.unlink(missing_ok=True)


def _shrinks(source: BinaryIO) -> bool:
    """Whether compressing a file is worth its time, by how it begins: 200 MB of what does not shrink took 9 s."""
    begin = source.read(_BEGIN)
    source.seek(0)
    return len(zlib.compress(begin, _LEVEL)) < 0.9 * len(begin)


class KeptFiles:
    """The files an agent left, by name.

    Args:
        archive: the run's ``workspace.zip``; runs of earlier versions kept a folder of the same name without suffix.
    """

    def __init__(self, archive: Path) -> None:
        self._archive, self._folder = archive, archive.with_suffix("")

    def sizes(self) -> dict[str, int]:
        """Return the size of every file in bytes, by its name from the workspace.

        Raises:
            MissingError: nothing was kept.
            StoreError: the archive cannot be read (code ``damaged``).
        """
        if self._archive.exists():
            with self._opened() as archive:
                return {member.filename: member.file_size for member in archive.infolist() if not member.is_dir()}
        if not self._folder.is_dir():
            raise MissingError(f"{self._archive} is not there", hint="it is written when the agent has ended")
        found = (path for path in self._folder.rglob("*") if path.is_file() and not path.is_symlink())
        return {path.relative_to(self._folder).as_posix(): path.stat().st_size for path in sorted(found)}

    def read(self, name: str) -> bytes:
        """Return a file.

        Raises:
            NotFoundError: there is none of this name; says which is near.
            MissingError, StoreError: as `sizes`.
        """
        sizes = self.sizes()
        if name not in sizes:
            raise NotFoundError.named("file", name, list(sizes))
        return next(data for _, data in self.contents({name: sizes[name]}))

    def read_all(self) -> dict[str, bytes]:
        """Return every file by its name.

        Raises:
            MissingError, StoreError: as `sizes`.
        """
        return dict(self.contents(self.sizes()))

    def unpack(self, target: Path, patterns: Sequence[str] = ()) -> dict[str, str]:
        """Write files into the new folder ``target``; what tools would act on unasked gets a name that they do not know.

        Args:
            target: must not exist.
            patterns: names, or globs over names; none means all.

        Returns:
            Name in the workspace → name below ``target``.

        Raises:
            UsageError: ``target`` exists.
            NotFoundError: a pattern fits nothing.
            MissingError, StoreError: as `sizes`.
        """
        sizes = self.sizes()
        return unpack_into(target, patterns, sizes, lambda names: self.contents({name: sizes[name] for name in names}))

    def contents(self, sizes: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
        """Yield files, some of those in `sizes`, with what is in them; the archive is opened once for all.

        Raises:
            StoreError: as `sizes`.
        """
        if not self._archive.exists():
            yield from ((name, (self._folder / name).read_bytes()) for name in sizes)
            return
        for name, size in sizes.items():
            if size > _FILE_BYTES:
                raise self._damaged(f"{name[:120]!r} claims {size} bytes")
        with self._opened() as archive:
            yield from ((name, archive.read(name)) for name in sizes)

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self._archive) as archive:
                yield archive
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError) as exc:
            raise self._damaged(str(exc)) from exc

    def _damaged(self, why: str) -> StoreError:
        return StoreError(f"{self._archive} is damaged: {why}", hint="bring it back from a backup", code="damaged")


def unpack_into(
    target: Path,
    patterns: Sequence[str],
    sizes: Mapping[str, int],
    contents: Callable[[Sequence[str]], Iterable[tuple[str, bytes]]],
) -> dict[str, str]:
    """Write those files of ``sizes`` that are meant; see `KeptFiles.unpack`, of whatever ``contents`` reads."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in sizes):
            raise NotFoundError.named("file", pattern, list(sizes))
    chosen = [name for name in sizes if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)]
    try:
        target.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(f"{target} exists already", hint="name a folder that is to be made") from None
    written = {}
    for name, data in contents(chosen):
        written[name] = tame(name)
        path = target / written[name]
        if target.resolve() not in path.resolve().parents:
            raise StoreError(
                f"the file {name[:120]!r} leads out of the workspace", hint="bring it back from a backup", code="damaged"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return written


def tame(name: str) -> str:
    """Return a file's name with every part changed that tools act on unasked: ``.git/config`` → ``dot.git/config``.

    No two names become one: what looks like a changed one is changed too.
    """
    return "/".join(_tame(part) for part in name.split("/"))


def _tame(part: str) -> str:
    if _HIDDEN.match(part):
        return f"dot{part}"
    return f"{part}.txt" if _GIT.fullmatch(part) else part
