"""Directories as tar streams. Nothing is followed: links, pipes and devices go out as what they are, and never come in."""

from __future__ import annotations

import errno
import fnmatch
import io
import os
import stat
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, NamedTuple

from .files import Refused
from .wire import CHUNK

if TYPE_CHECKING:
    import tarfile

# Open directories while walking: one a level. Deeper trees are made to break walkers, not to hold work.
MAX_DEPTH = 128
# PAX record of a file that goes out by name alone: why ("too_large", "sparse", "unwanted"), a space, and how long it is
LEFT_OUT = "DOJO.left_out"
# Holes are files' length without their weight: 20 GB of them on a disk of one. What programs leave by the way is below this.
HOLES_BYTES = 1024 * 1024
# A file in more pieces is made to be counted, not to be read.
_MOST_PIECES = 1000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK
_REGULAR = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class Room(NamedTuple):
    """What the reader of an archive takes: the longest file and all together, bytes.

    ``without``: patterns of names at the top that it does not want at all; ``*/`` are the folders there, with all below them.
    """

    file_bytes: int
    total_bytes: int
    without: tuple[str, ...] = ()

    def unwanted(self, name: str, folder: bool = False) -> bool:
        """Whether what is called ``name`` at the top goes out by name alone."""
        return any(fnmatch.fnmatchcase(name + "/" * folder, pattern) for pattern in self.without)


class Sender:
    """Adds files to a tar as long as there is room; what the reader would throw away goes out by name alone."""

    def __init__(self, tar: tarfile.TarFile, room: Room | None) -> None:
        self.tar, self._room = tar, room
        self._left = 0 if room is None else room.total_bytes

    def add(self, member: tarfile.TarInfo, descriptor: int, file: IO[bytes]) -> None:
        """Add a regular file that is open."""
        if self._room is not None:
            if reason := self._left_out(descriptor, member.size, self._room):
                member.pax_headers = {LEFT_OUT: f"{reason} {member.size}"}
                member.size = 0
            self._left -= member.size
        self.tar.addfile(member, file)

    def keeps_out(self, folder: str) -> bool:
        """Whether nothing below a folder is wanted, by its name from the top."""
        return self._room is not None and "/" not in folder and self._room.unwanted(folder, folder=True)

    def add_name(self, member: tarfile.TarInfo, size: int) -> bool:
        """Add a file that is not wanted, by name alone, and return whether it is one; nobody has to be able to read it."""
        if self._room is None or "/" in member.name or not self._room.unwanted(member.name):
            return False
        member.pax_headers = {LEFT_OUT: f"unwanted {size}"}
        self.tar.addfile(member)
        return True

    def _left_out(self, descriptor: int, size: int, room: Room) -> str:
        if size > room.file_bytes or size > self._left:
            return "too_large"
        return "sparse" if has_holes(descriptor, size) else ""


def has_holes(descriptor: int, size: int) -> bool:
    """Whether more of an open file is holes than a program leaves by the way."""
    if os.fstat(descriptor).st_blocks * 512 >= size:
        return False
    position, data = 0, 0
    for _ in range(_MOST_PIECES):
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno != errno.ENXIO:  # ENXIO: holes to the end
                raise
            start = size
        if start >= size:
            break
        position = os.lseek(descriptor, start, os.SEEK_HOLE)
        data += min(position, size) - start
    os.lseek(descriptor, 0, os.SEEK_SET)
    return size - data > HOLES_BYTES


def write_archive(path: str, out: IO[bytes] | io.RawIOBase, room: Room | None = None, whole: bool = True) -> None:
    """Write the directory ``path`` as a tar with names relative to it.

    Args:
        path: the directory.
        out: where to.
        room: what the reader takes: files that are too long, or of holes, go out by name alone, with `LEFT_OUT`.
        whole: whether one thing that cannot be read is an error; else it is left out, so that it does not hide the rest.

    Raises:
        OSError: ``path`` or something in it cannot be read; names it.
        Refused: nested too deep (code ``too_deep``), or a file shrank while it was read (code ``changed``).
    """
    import tarfile

    top = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK) as tar:
        sender = Sender(tar, room)
        for folder, name, shown in _walk(top, path, whole, sender.keeps_out):
            try:
                _add(sender, folder, name, shown)
            except _Unreadable as exc:
                if whole:
                    raise exc.error from exc


class _Unreadable(Exception):
    """Something cannot be opened; nothing of it went out."""

    def __init__(self, error: OSError | Refused) -> None:
        self.error = error


def _walk(top: int, path: str, whole: bool, keeps_out: Callable[[str], bool]) -> Iterator[tuple[int, str, str]]:
    """Yield (descriptor of the folder, name in it, name from the top) of everything below, folders first."""
    levels: list[tuple[int, str, list[str]]] = [(top, "", sorted(os.listdir(top), reverse=True))]
    try:
        while levels:
            folder, prefix, names = levels[-1]
            if not names:
                os.close(levels.pop()[0])
                continue
            name = names.pop()
            shown = f"{prefix}{name}"
            yield folder, name, shown
            if stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode) and not keeps_out(shown):
                try:
                    if len(levels) >= MAX_DEPTH:
                        raise Refused("too_deep", f"{path}/{shown} lies more than {MAX_DEPTH} folders deep")
                    inner = os.open(name, _DIRECTORY, dir_fd=folder)
                    levels.append((inner, f"{shown}/", sorted(os.listdir(inner), reverse=True)))
                except OSError as exc:
                    if whole:
                        raise _named(exc, f"{path}/{shown}") from exc
                except Refused:
                    if whole:
                        raise
    finally:
        for folder, _, _ in levels:
            os.close(folder)


def _add(sender: Sender, folder: int, name: str, shown: str) -> None:
    import tarfile

    tar = sender.tar
    state = os.lstat(name, dir_fd=folder)
    member = tarfile.TarInfo(shown)
    member.mode = stat.S_IMODE(state.st_mode)
    member.mtime = int(state.st_mtime)
    member.uid, member.gid = state.st_uid, state.st_gid
    if stat.S_ISREG(state.st_mode):
        if state.st_nlink > 1 and (first := _first_name(tar, state, shown)) != shown:
            member.type, member.linkname = tarfile.LNKTYPE, first
            tar.addfile(member)
        elif not sender.add_name(member, state.st_size):
            _add_regular(sender, member, folder, name)
        return
    if stat.S_ISLNK(state.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=folder)
    elif stat.S_ISDIR(state.st_mode):
        member.type = tarfile.DIRTYPE
    elif stat.S_ISFIFO(state.st_mode):
        member.type = tarfile.FIFOTYPE
    elif stat.S_ISCHR(state.st_mode) or stat.S_ISBLK(state.st_mode):
        member.type = tarfile.CHRTYPE if stat.S_ISCHR(state.st_mode) else tarfile.BLKTYPE
        member.devmajor, member.devminor = os.major(state.st_rdev), os.minor(state.st_rdev)
    else:
        return  # a socket: tar has no such member and nothing could be done with it
    tar.addfile(member)


def _first_name(tar: tarfile.TarFile, state: os.stat_result, shown: str) -> str:
    """Return under which name this file with several names went out first."""
    names: dict[tuple[int, int], str] = tar.inodes  # type: ignore[attr-defined]  # tarfile's own table for the same purpose
    return names.setdefault((state.st_ino, state.st_dev), shown)


def _add_regular(sender: Sender, member: tarfile.TarInfo, folder: int, name: str) -> None:
    try:
        descriptor = os.open(name, _REGULAR, dir_fd=folder)
    except OSError as exc:
        raise _Unreadable(_named(exc, member.name)) from exc
    with os.fdopen(descriptor, "rb") as file:
        opened = os.fstat(descriptor)
        if not stat.S_ISREG(opened.st_mode):
            raise _Unreadable(Refused("changed", f"{member.name} was replaced while it was read"))
        member.size = opened.st_size
        try:
            sender.add(member, descriptor, file)
        except OSError as exc:
            if exc.errno is None:  # tarfile's own: the file ended early
                raise Refused("changed", f"{member.name} shrank while it was read") from exc
            raise


def _named(exc: OSError, path: str) -> OSError:
    return OSError(exc.errno, exc.strerror, path)


def read_archive(path: str, source: IO[bytes]) -> None:
    """Unpack a tar made by the harness into the directory ``path``, which is made if needed.

    Raises:
        OSError: as the calls would.
        Refused: a member that is neither a regular file nor a folder, or whose name leads out (code ``unsafe_member``).
    """
    import tarfile

    os.makedirs(path, exist_ok=True)
    with tarfile.open(fileobj=source, mode="r|") as tar:
        for member in tar:
            name = os.path.normpath(member.name)
            if name.startswith(("/", "..")) or not (member.isreg() or member.isdir()):
                raise Refused("unsafe_member", f"{member.name!r} is no plain file or folder below the target")
            target = os.path.join(path, name)
            if member.isdir():
                os.makedirs(target, exist_ok=True)
                os.chmod(target, member.mode | stat.S_IRWXU)
                continue
            _extract_file(tar, member, target)


def _extract_file(tar: tarfile.TarFile, member: tarfile.TarInfo, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        os.unlink(target)  # never write through a link that lies there
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError) as exc:
        if os.path.isdir(target) and not os.path.islink(target):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target) from exc
        raise
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        data = tar.extractfile(member)
        assert data is not None  # a regular member has data
        while part := data.read(256 * 1024):
            out.write(part)
        os.fchmod(descriptor, stat.S_IMODE(member.mode) & 0o777)
