"""The secret of an installation, with which hidden splits are drawn: who lacks it cannot make them again.

It lies beside the prepared data, is made at first use and readable by its owner alone. Only its digest leaves the installation:
it stands in every result, so that scores on different hidden splits are never taken for scores on one.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from harness.files import write_atomic
from harness.spec.errors import MissingError, UsageError

NAME = "hidden.secret"
_BYTES = 32
# another user's, or a link in its place
_CLOSED = (errno.EACCES, errno.EPERM, errno.ELOOP)
_WRITTEN = re.compile(rf"[0-9a-f]{{{2 * _BYTES}}}")


@dataclass(frozen=True)
class HiddenSecret:
    """A secret. Its key never stands in a message: it has no part in what is printed of it.

    Attributes:
        key: 32 random bytes.
    """

    key: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        """What may be told: sixteen hex digits that name it. Guessing 32 random bytes by it is hopeless."""
        return hashlib.sha256(b"dojo hidden split\n" + self.key).hexdigest()[:16]

    def draw(self, number: int) -> bytes:
        """Return the key of the ``number``-th draw, counted from 0, of a split whose former draws were thrown away."""
        return self.key if number == 0 else hmac.digest(self.key, f"draw {number}".encode(), hashlib.sha256)

    @property
    def text(self) -> str:
        """The secret itself, to be copied to another installation."""
        return self.key.hex()


def secret_path(cache: Path) -> Path:
    """Return where an installation's secret lies."""
    return cache / NAME


def installation_secret(cache: Path) -> HiddenSecret:
    """Return the secret of the installation with this cache, making it where there is none.

    Raises:
        MissingError: it is not this user's alone, or no secret.
    """
    path = secret_path(cache)
    found = _read(path)
    if found is None:
        _make(path)
        found = _read(path)
    if found is None:
        raise MissingError(f"{path}: cannot be made", hint="check the folder that DOJO_CACHE names")
    return found


def set_secret(cache: Path, text: str) -> HiddenSecret:
    """Take over the secret of another installation; what was drawn with the former one cannot be drawn again.

    Raises:
        UsageError: ``text`` is no secret as another installation shows it.
    """
    wanted = text.strip().lower()
    if not _WRITTEN.fullmatch(wanted):
        raise UsageError(
            f"a secret is {2 * _BYTES} hexadecimal digits",
            hint="`dojo data secret --show` prints that of another installation; a shorter one could be guessed by its digest",
        )
    cache.mkdir(parents=True, exist_ok=True)
    write_atomic(secret_path(cache), f"{wanted}\n".encode(), 0o600)
    return HiddenSecret(bytes.fromhex(wanted))


def _make(path: Path) -> None:
    """Write a new secret; of several processes that do so at once the first one's stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = path.with_name(f".{NAME}.{secrets.token_hex(4)}")
    write_atomic(mine, f"{secrets.token_hex(_BYTES)}\n".encode(), 0o600)
    try:
        os.link(mine, path)
    except FileExistsError:
        pass
    finally:
        mine.unlink()


def _read(path: Path) -> HiddenSecret | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as exc:
        if exc.errno not in _CLOSED:
            raise
        raise MissingError(
            f"{path}: cannot be read: {exc.strerror}",
            hint="it is one user's alone; share it with `dojo data secret --show` there and `--set` with a cache of your own",
        ) from exc
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
        status = os.fstat(file.fileno())
        text = file.read(1000).strip()
    if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
        raise MissingError(
            f"{path}: others may read it (mode {stat.S_IMODE(status.st_mode):o})",
            hint="if somebody may have, remove it, and the next run makes a new one; else chmod 600",
        )
    if not _WRITTEN.fullmatch(text):
        raise MissingError(f"{path}: is no secret", hint="remove it, and the next run makes a new one, or set one anew")
    return HiddenSecret(bytes.fromhex(text))
