"""What the machine does not let us do, told as that: the place, why, and what to do. It is no fault of dojo's."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from harness.spec.errors import DojoError, MissingError, StoreError

CODE = "environment"
_ROOM = "free space there"
_TAKEN = "remove what lies there"
_RIGHTS = "give this user the right to it"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "mount it writable",
    errno.ENOTDIR: _TAKEN,
    errno.EEXIST: _TAKEN,
    errno.EISDIR: _TAKEN,
    errno.ELOOP: "remove the link that leads to itself",
    errno.ENAMETOOLONG: "shorten the path",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close other programs' files, or raise fs.file-max",
    errno.EAGAIN: "raise the limit on processes (ulimit -u), or end some",
    errno.ENOMEM: "free memory",
    errno.EIO: "look at the disk: it fails",
    errno.ESTALE: "mount the network disk again",
}
_LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.EFBIG})
# As pathlib says it before Python 3.13.
_LOOP = "Symlink loop from "


def environment_error(exc: BaseException, places: Mapping[str, Path]) -> MissingError | None:
    """Return what to tell of an exception that the machine is to blame for, None where it is not known to be.

    Args:
        exc: what was raised.
        places: the setting or variable that names a folder → the folder, for the remedy.
    """
    if isinstance(exc, RuntimeError) and str(exc).startswith(_LOOP):
        exc = OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(exc).removeprefix(_LOOP).strip("'"))
    if isinstance(exc, UnicodeEncodeError) and exc.reason == "surrogates not allowed":
        named = next((f" ({name})" for name, path in places.items() if not _is_utf8(path)), "")
        return _told(f"a name that is not UTF-8: {exc.object[:300]!a}{named}", "rename it, or name another place" + named)
    if isinstance(exc, MemoryError):
        return _told("there is not enough memory", "free memory, or run less at a time (--parallel)")
    if not isinstance(exc, OSError):
        return None
    path = exc.filename if isinstance(exc.filename, str | bytes) else None
    shown = "" if path is None else f"{os.fsdecode(path)[:300]!a}"[1:-1]
    if exc.errno == errno.ENOENT:
        return _missing(exc, shown, places)
    if exc.errno not in _REMEDIES:
        return None
    hint, setting = _REMEDIES[exc.errno], _setting(shown, places)
    if setting and exc.errno not in _LIMITS:
        hint += f", or set {setting} to another place"
    where = f"{shown}: " if shown else ""
    if not shown and exc.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free space in " + ", ".join(f"{folder} ({name})" for name, folder in places.items())
    return _told(f"{where}{exc.strerror or os.strerror(exc.errno)}", hint)


def exit_code(exc: DojoError) -> int:
    """Return what the command line exits with: the class's own, but 3 where the machine kept us from the results directory."""
    refused = isinstance(exc.__cause__, OSError) and exc.__cause__.errno in _REMEDIES
    return MissingError.exit_code if isinstance(exc, StoreError) and (refused or exc.code == CODE) else exc.exit_code


def _missing(exc: OSError, shown: str, places: Mapping[str, Path]) -> MissingError | None:
    """Tell of a working directory that is gone, a program that is not there, or a place that cannot be made."""
    try:
        os.getcwd()
    except OSError:
        return _told("the working directory is gone", "cd to a directory that exists")
    if not shown:
        return _told(str(exc.strerror), "set TMPDIR to a folder that may be written to") if "temporary" in str(exc) else None
    if "/" not in shown:
        return _told(f"the program {shown} is not there", "install it, or put it on PATH")
    if setting := _setting(shown, places):
        return _told(f"{shown} is not there", f"bring it back, or set {setting} to another place")
    return None


def _setting(shown: str, places: Mapping[str, Path]) -> str:
    return next((name for name, folder in places.items() if shown == str(folder) or shown.startswith(f"{folder}/")), "")


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _told(message: str, hint: str) -> MissingError:
    return MissingError(message, hint=hint, code=CODE)
