"""Files and folders: digests, folders that appear whole or not at all, writes that a crash leaves either old or new."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NOISE = {"__pycache__", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


def tree_files(root: Path, skip: Iterable[str] = ()) -> list[Path]:
    """Every file under ``root`` but caches and the top-level names in ``skip``, sorted by path."""
    left_out = set(skip)
    found = []
    for path in root.rglob("*"):
        parts = path.relative_to(root).parts
        if path.is_file() and not _NOISE & set(parts) and parts[0] not in left_out and path.suffix != ".pyc":
            found.append(path)
    return sorted(found, key=lambda p: p.relative_to(root).as_posix())


def below(folder: Path) -> Iterator[Path]:
    """Yield every file and folder below ``folder`` (links too, unfollowed), whatever others take away meanwhile.

    What is yielded may be gone when it is looked at.
    """
    for root, folders, files in os.walk(folder):
        yield from (Path(root, name) for name in (*folders, *files))


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all plain files below ``folder``; what vanishes meanwhile counts nothing."""
    total = 0
    for path in below(folder):
        with suppress(FileNotFoundError, NotADirectoryError):
            found = path.lstat()
            total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total


def tree_digest(root: Path, skip: Iterable[str] = ()) -> str:
    """SHA-256 over the sorted lines ``sha256 path`` of the files in ``root``."""
    lines = [f"{sha256_file(path)} {path.relative_to(root).as_posix()}\n" for path in tree_files(root, skip)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@contextmanager
def build_folder(target: Path, *, keep: bool = False, mode: int = 0o755) -> Iterator[Path | None]:
    """Hold a lock on ``target`` and yield a folder to fill, which becomes ``target`` when the block ends well.

    Yields ``None`` when ``target`` is there (another process may have made it while this one waited). After an error, or
    ``kill -9``, ``target`` is as it was; remains of dead builders are removed by the next one.

    Args:
        target: the folder to make.
        keep: give the next builder what a dead one had filled, for work that can be continued, such as downloads.
        mode: of the folder; what is in it can be read by whoever may enter it.
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
            with naming(target):
                yield part
            make_readable(part, mode)
            os.rename(part, target)
        finally:
            if not keep:
                shutil.rmtree(part, ignore_errors=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an error of the operating system that names no path this one: writing to an open file says only that it failed."""
    try:
        yield
    except OSError as exc:
        if exc.filename is None and exc.errno is not None:
            exc.filename = str(path)
        raise


def make_readable(root: Path, mode: int = 0o755) -> None:
    """Let every user read what is in ``root``: sandboxes mount it read-only and read it as another user. Programs stay programs.

    The folder itself gets ``mode``, by which what is hidden stays closed as a whole.
    """
    root.chmod(mode)
    for path in root.rglob("*"):
        if path.is_symlink():
            continue  # it has no mode of its own
        mode = path.stat().st_mode
        path.chmod(0o755 if path.is_dir() else (mode | (0o555 if mode & 0o100 else 0o444)) & 0o755)


def write_atomic(path: Path, data: bytes, mode: int | None = None) -> None:
    """Replace ``path`` by ``data``: written beside it, flushed to disk, renamed.

    Args:
        path: the file.
        data: what is to be in it.
        mode: its mode, whatever the umask is; None for 0644 less what the umask takes.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644 if mode is None else mode)
        with naming(path), os.fdopen(descriptor, "wb") as out:
            if mode is not None:
                os.fchmod(descriptor, mode)
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames and new files in ``path`` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file, read in pieces."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
