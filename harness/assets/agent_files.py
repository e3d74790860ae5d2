"""The files of an agent's directory, read in one way: what is digested is what is looked at, and nothing else is copied.

A directory comes from a stranger and is read with the rights of whoever submits it, so nothing in it is followed, nothing but
plain files is opened, and of a file its bytes alone are taken along: no owner, no set-uid bit, no capability.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.spec.errors import SpecError

MAX_FILES = 20_000
# Every run gets a copy. Programs with their packages belong under [install], which is made once.
MAX_BYTES = 1024 * 1024 * 1024
# Folders within folders. A tree that is deeper was made to break what walks it.
MAX_DEPTH = 64
# What may not be in an agent is told up to this many times.
_TOLD = 20
_PIECE = 1024 * 1024
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_HIDDEN, _CACHE, _COMPILED = ".", "__pycache__", ".pyc"


@dataclass(frozen=True)
class Stranger:
    """Something that may not be in an agent's directory.

    Attributes:
        path: where it lies.
        why: what is wrong with it, as the rest of a sentence that begins with the path.
        hint: what to do.
    """

    path: Path
    why: str
    hint: str

    def __str__(self) -> str:
        return f"{str(self.path)!a} {self.why}" if not str(self.path).isprintable() else f"{self.path} {self.why}"


class _Refused(Exception):
    def __init__(self, why: str, hint: str) -> None:
        self.why, self.hint = why, hint


TOO_MUCH = f"goes over {MAX_FILES:,} files or {MAX_BYTES >> 20:,} MB, the most an agent may hold"
LESS = "leave data and environments out; what it needs installed goes under [install] in agent.toml"
ODD_NAME, PLAIN_NAME = "has a name with bytes that cannot be shown", "use letters, digits and punctuation"
REPLACE = "put the file itself there; `shared` in agent.toml takes folders from beside the agent along"


def is_part(name: str) -> bool:
    """Whether a file or folder of this name belongs to an agent: hidden ones and what Python compiles do not."""
    return not name.startswith(_HIDDEN) and name != _CACHE and not name.endswith(_COMPILED)


def strangers_in(root: Path, skip: Iterable[str] = ()) -> list[Stranger]:
    """Return what may not be in ``root``: links, pipes, sockets, devices, odd names, too much; the first of them if many."""
    found: list[Stranger] = []
    _read(root, skip, lambda name, descriptor: None, found.append)
    return found[:_TOLD]


def left_out_of(root: Path) -> list[str]:
    """Return the names at the top of ``root`` that are no part of an agent and are not made by Python either."""
    return sorted(name for name in os.listdir(root) if name.startswith(_HIDDEN))


def digest_files(root: Path, skip: Iterable[str] = ()) -> str:
    """Return the SHA-256 over the sorted lines ``sha256 path`` of the files in ``root``; strangers count for nothing."""
    return _digest(root, skip, lambda name, descriptor: _hashed(descriptor), lambda stranger: None)


def copy_files(root: Path, target: Path, skip: Iterable[str] = ()) -> str:
    """Copy the files in ``root`` to ``target``, for every user to read; return the digest of what was copied.

    Raises:
        SpecError: there is a stranger among them.
    """
    target.mkdir(parents=True, exist_ok=True)

    def copied(name: str, descriptor: int) -> str:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o755 if os.fstat(descriptor).st_mode & stat.S_IXUSR else 0o644
        new = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        try:
            os.fchmod(new, mode)  # whatever the umask
            return _hashed(descriptor, new)
        finally:
            os.close(new)

    digest = _digest(root, skip, copied, refuse)
    for folder in [target, *(path for path in target.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)
    return digest


def refuse(stranger: Stranger) -> None:
    """Let a stranger into no run.

    Raises:
        SpecError: always.
    """
    raise SpecError(str(stranger), hint=stranger.hint)


def _digest(root: Path, skip: Iterable[str], each: Callable[[str, int], str], refused: Callable[[Stranger], None]) -> str:
    found: dict[str, str] = {}

    def seen(name: str, descriptor: int) -> None:
        found[name] = each(name, descriptor)

    _read(root, skip, seen, refused)
    return hashlib.sha256("".join(f"{digest} {name}\n" for name, digest in sorted(found.items())).encode()).hexdigest()


def _read(root: Path, skip: Iterable[str], each: Callable[[str, int], None], refused: Callable[[Stranger], None]) -> None:
    """Open every file of ``root`` in turn; tell what is none, or is too much."""
    left_out, files, size = set(skip), 0, 0
    for place, name, folder in _walk(root, left_out):
        inside = f"{place}{name}"
        try:
            descriptor = _opened(name, folder)
            try:
                files, size = files + 1, size + os.fstat(descriptor).st_size
                if files > MAX_FILES or size > MAX_BYTES:
                    raise _Refused(TOO_MUCH, LESS)
                each(inside, descriptor)
            finally:
                os.close(descriptor)
        except _Refused as exc:
            refused(Stranger(root / inside, exc.why, exc.hint))
            if files > MAX_FILES or size > MAX_BYTES:
                return


def _walk(root: Path, skip: set[str]) -> Iterator[tuple[str, str, int]]:
    """Yield (folder inside ``root``, name, the folder's descriptor) of all that is no folder; no link is gone through."""
    for place, folders, files, descriptor in os.fwalk(root, follow_symlinks=False):
        inside = os.path.relpath(place, root)
        prefix = "" if inside == "." else f"{inside}/"
        at_top = skip if not prefix else ()
        folders[:] = sorted(name for name in folders if is_part(name) and name not in at_top)
        links = [name for name in folders if _is_link(name, descriptor)]
        odd = [
            name
            for name in folders
            if not name.isprintable()
            or prefix.count("/") >= MAX_DEPTH
            or not os.access(name, os.R_OK | os.X_OK, dir_fd=descriptor)
        ]
        folders[:] = [name for name in folders if name not in links and name not in odd]
        for name in sorted({*(name for name in files if is_part(name) and name not in at_top), *links, *odd}):
            yield prefix, name, descriptor


def _is_link(name: str, folder: int) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _opened(name: str, folder: int) -> int:
    """Open a plain file by its name in a folder.

    Raises:
        _Refused: it is none, or its name is one that has a meaning of its own to people's tools.
    """
    if not name.isprintable():  # surrogates, which are no UTF-8, and line ends, which would forge lines of the digest
        raise _Refused(ODD_NAME, PLAIN_NAME)
    if name == "HEAD":
        raise _Refused("makes git take its folder for a repository, whose settings name programs", "call it otherwise")
    found = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    if stat.S_ISDIR(found) and not os.access(name, os.R_OK | os.X_OK, dir_fd=folder):
        raise _Refused("cannot be looked into", "let yourself, as by `chmod u+rx`, or remove it")
    if not stat.S_ISREG(found):  # never opened: a device may act on being opened
        raise _Refused(f"is {_kind(found)}, and an agent is copied whole into its run", REPLACE)
    try:
        descriptor = os.open(name, _OPEN, dir_fd=folder)
    except OSError as exc:
        raise _Refused(f"cannot be read: {exc.strerror}", "make it readable, or remove it") from exc
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _Refused("was replaced while it was read", "leave the directory alone meanwhile")
    return descriptor


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a link"
    if stat.S_ISFIFO(mode):
        return "a pipe"
    if stat.S_ISDIR(mode):
        return f"a folder more than {MAX_DEPTH} folders deep"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def _hashed(source: int, copy: int | None = None) -> str:
    """Return the SHA-256 of an open file, up to the most an agent may hold, and write it to ``copy`` on the way."""
    digest, size = hashlib.sha256(), 0
    while size <= MAX_BYTES and (piece := os.read(source, _PIECE)):
        size += len(piece)
        digest.update(piece)
        view = memoryview(piece)
        while copy is not None and view:
            view = view[os.write(copy, view) :]
    if size > MAX_BYTES:
        raise _Refused("grew while it was read", "leave the directory alone meanwhile")
    return digest.hexdigest()
