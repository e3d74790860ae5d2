"""Reading and writing single files as a user."""

from __future__ import annotations

import errno
import os
import stat

from .wire import CHUNK, Wire


class Refused(Exception):
    """An operation that is not done for a reason of ours; ``code`` names it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def open_regular(path: str) -> int:
    """Open a regular file for reading.

    Raises:
        OSError: as open() would.
        Refused: it is a device, a pipe or a socket (code ``not_regular``).
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
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


def create_file(path: str, mode: int) -> int:
    """Open a file for writing, making its parents; what was there is emptied.

    Raises:
        OSError: as open() would.
        Refused: it is a device, a pipe or a socket (code ``not_regular``).
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY
    descriptor = os.open(path, flags, 0o600)
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
