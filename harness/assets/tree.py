"""Digests of files and folders, and folders that appear whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_CHUNK = 1 << 20
_NOISE = {"__pycache__", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def tree_files(root: Path, skip: Iterable[str] = ()) -> list[Path]:
    """Every file under ``root`` but caches and the top-level names in ``skip``, sorted by path."""
    left_out = set(skip)
    found = []
    for path in root.rglob("*"):
        parts = path.relative_to(root).parts
        if path.is_file() and not _NOISE & set(parts) and parts[0] not in left_out and path.suffix != ".pyc":
            found.append(path)
    return sorted(found, key=lambda p: p.relative_to(root).as_posix())


def tree_digest(root: Path, skip: Iterable[str] = ()) -> str:
    """SHA-256 over the sorted lines ``sha256 path`` of the files in ``root``."""
    lines = [f"{sha256_file(path)} {path.relative_to(root).as_posix()}\n" for path in tree_files(root, skip)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@contextmanager
def build_folder(target: Path, *, keep: bool = False) -> Iterator[Path | None]:
    """Hold a lock on ``target`` and yield a folder to fill, which becomes ``target`` when the block ends well.

    Yields ``None`` when ``target`` is there (another process may have made it while this one waited). After an error, or
    ``kill -9``, ``target`` is as it was; remains of dead builders are removed by the next one.

    Args:
        target: the folder to make.
        keep: give the next builder what a dead one had filled, for work that can be continued, such as downloads.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = target.parent / f".{target.name}.lock"
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        if target.exists():
            yield None
            return
        if keep:
            part = target.parent / f".{target.name}.part-kept"
            part.mkdir(exist_ok=True)
        else:
            for remains in target.parent.glob(f".{target.name}.part-*"):
                shutil.rmtree(remains, ignore_errors=True)
            part = Path(tempfile.mkdtemp(prefix=f".{target.name}.part-", dir=target.parent))
        try:
            yield part
            make_readable(part)
            os.rename(part, target)
        finally:
            if not keep:
                shutil.rmtree(part, ignore_errors=True)


def make_readable(root: Path) -> None:
    """Let every user read ``root``: sandboxes mount it read-only and read it as another user."""
    root.chmod(0o755)
    for path in root.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
