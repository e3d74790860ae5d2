"""Reading and writing single files as a user."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from .settings import PRIVATE_DIR, Settings
from .wire import CHUNK, Wire

# (device, inode) of folders
Places = frozenset[tuple[int, int]]
_FOLDER = os.O_PATH | os.O_DIRECTORY
# as many links as the kernel follows
_MOST_LINKS = 40


class Refused(Exception):
    """An operation that is not done for a reason of ours; ``code`` names it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def closed_places(settings: Settings, *, writing: bool) -> Places:
    """Return the folders below which the user's file calls touch nothing; asked with root's rights.

    Where one user id is all there is, the server's own folder is open to its file calls by the rules of the file system, and with
    it the state of the user's processes. What is written into the kernel's files changes processes, the server's among them.
    """
    paths = [settings.spool]
    if settings.mode != "open":
        paths += [PRIVATE_DIR, *(("/proc", "/sys") if writing else ())]
    found = set()
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            state = os.stat(path)
            found.add((state.st_dev, state.st_ino))
    return frozenset(found)


def require_open(path: str, closed: Places) -> None:
    """Look at the folder ``path``, or at the deepest one above it that there is.

    Raises:
        PermissionError: it lies in a closed place, by whatever links.
    """
    while True:
        try:
            folder = os.open(path or "/", _FOLDER)
            break
        except (FileNotFoundError, NotADirectoryError):
            path = os.path.dirname(path.rstrip("/"))
    try:
        _require_open(folder, path, closed)
    finally:
        os.close(folder)


def _require_open(folder: int, path: str, closed: Places) -> None:
    here = os.dup(folder)
    try:
        state = os.fstat(here)
        while (place := (state.st_dev, state.st_ino)) not in closed:
            above = os.open("..", _FOLDER, dir_fd=here)
            os.close(here)
            here = above
            state = os.fstat(here)
            if (state.st_dev, state.st_ino) == place:
                return
    finally:
        os.close(here)
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def _open(path: str, flags: int, closed: Places, mode: int = 0o600) -> int:
    """Open a file as open() would, but none in a closed place: the folder is looked at that the file is then opened in."""
    shown = path
    for _ in range(_MOST_LINKS):
        above, name = os.path.split(path)
        if name in ("", ".", ".."):
            above, name = path, "."
        folder = os.open(above or "/", _FOLDER)
        try:
            _require_open(folder, shown, closed)
            try:
                return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=folder)
            except OSError as exc:
                if exc.errno != errno.ELOOP:
                    raise OSError(exc.errno, exc.strerror, shown) from exc
                path = os.path.join(above, os.readlink(name, dir_fd=folder))
        finally:
            os.close(folder)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), shown)


def open_regular(path: str, closed: Places = frozenset()) -> int:
    """Open a regular file for reading.

    Raises:
        OSError: as open() would; PermissionError also in a closed place.
        Refused: it is a device, a pipe or a socket (code ``not_regular``).
    """
    descriptor = _open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, closed)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise Refused("not_regular", f"{path} is no regular file")


def send_file(descriptor: int, path: str, max_bytes: int, wire: Wire) -> None:
    """Stream an open file; its size is what it gives, not what it says.

    Raises:
        Refused: there is more than ``max_bytes`` in it (code ``too_large``).
    """
    sent = 0
    while data := os.read(descriptor, CHUNK):
        sent += len(data)
        if sent > max_bytes:
            raise Refused("too_large", f"{path} is larger than {max_bytes} bytes")
        wire.send({}, data)


def create_file(path: str, mode: int, closed: Places = frozenset()) -> int:
    """Open a file for writing, making its parents; what was there is emptied.

    Raises:
        OSError: as open() would; PermissionError also in a closed place.
        Refused: it is a device, a pipe or a socket (code ``not_regular``).
    """
    require_open(os.path.dirname(path), closed)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    descriptor = _open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY, closed)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Refused("not_regular", f"{path} is no regular file")
        os.ftruncate(descriptor, 0)
        os.fchmod(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
