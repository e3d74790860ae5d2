"""Bytes on their way through the harness: in memory while they are few, else in a file without a name."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import SpooledTemporaryFile

from harness.spec.errors import StoreError

# Kept in memory of each body or answer. Calls of a small model's data files are mostly below it.
KEPT_BYTES = 64 * 1024


class Spool:
    """A binary file that nobody else sees and that is gone when closed, also by a crash.

    Args:
        folder: where it may lie.
        kept: bytes held in memory; what is longer moves to the disk.
    """

    def __init__(self, folder: Path, kept: int = KEPT_BYTES) -> None:
        self._file: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(max_size=kept, mode="w+b", dir=str(folder))  # noqa: SIM115  (closed by close)
        self._folder, self._kept = folder, kept
        self.size = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def write(self, data: bytes) -> int:
        """Append.

        Raises:
            StoreError: the disk takes no more.
        """
        try:
            if self.size + len(data) > self._kept:
                self._file.rollover()  # first: else it is all in memory once more
            self._file.write(data)
        except OSError as exc:
            text = os.strerror(exc.errno or errno.EIO)
            raise StoreError(f"{self._folder} takes no more: {text}", hint="free disk space where runs are kept") from exc
        self.size += len(data)
        return len(data)

    def rewind(self) -> None:
        """Go to the beginning, to read."""
        self._file.seek(0)

    def clear(self) -> None:
        """Forget what was written, to write anew."""
        self._file.seek(0)
        self._file.truncate()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, none at the end."""
        return self._file.read(size)

    async def pieces(self, size: int) -> AsyncIterator[bytes]:
        """Yield all of it from the beginning."""
        self.rewind()
        while piece := self.read(size):
            yield piece

    def close(self) -> None:
        """Forget everything."""
        self._file.close()
