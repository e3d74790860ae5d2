"""Whose a run's folder and the cache are: runners are not root, so what root submits is given to the user that they run as."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.files import below
from harness.spec.errors import StoreError


def hand_over(folder: Path, home: Path, user: int) -> None:
    """Give a run's folder to ``user`` where root has made it; nothing is done by anybody else.

    The folders between it and the results directory ``home`` are given too, alone: a service over the same results, which is not
    root either, makes its batches there.

    Raises:
        StoreError: the file system does not let root (such as NFS with root squashed).
    """
    if os.geteuid() != 0 or user == 0:
        return
    with _refused(folder, user):
        above = [path for path in folder.parents if path.is_relative_to(home) and path != home]
        marks = (path / "batch.json" for path in above)
        for path in (folder, *below(folder), *above, *filter(Path.exists, marks)):
            with suppress(FileNotFoundError):
                if path.lstat().st_uid != user:
                    os.chown(path, user, user, follow_symlinks=False)


def hand_over_cache(cache: Path, user: int) -> None:
    """Give what root has put into the cache to ``user``, where the cache itself is that user's: a volume made for runners.

    Raises:
        StoreError: the file system does not let root.
    """
    if os.geteuid() != 0 or not cache.exists() or cache.stat().st_uid != user:
        return
    with _refused(cache, user):
        for path in below(cache):
            with suppress(FileNotFoundError):  # somebody prepares something beside us
                if path.lstat().st_uid == 0:
                    os.chown(path, user, user, follow_symlinks=False)


@contextmanager
def _refused(folder: Path, user: int) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StoreError(
            f"{folder} cannot be given to user {user}, whom runners run as: {exc.strerror}",
            hint="submit as that user, or set DOJO_K8S_RUNNER_USER to the owner of the volume",
            code="environment",
        ) from exc
