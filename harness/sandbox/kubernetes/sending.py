"""Sends what a sandbox is shown from this host into its pod."""

from __future__ import annotations

import contextlib
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from harness.sandbox.base import Mount
from harness.sandbox.client import ExecdSandbox


def send(sandbox: ExecdSandbox, mount: Mount, target: str) -> None:
    """Send a folder or a file of this host into a pod."""
    if mount.source.is_dir():
        with _packed(mount.source) as tar:
            sandbox.extract(target, tar, user="root")
        return
    with mount.source.open("rb") as file:
        mode = 0o755 if os.access(mount.source, os.X_OK) else 0o644
        sandbox.write_from(target, file, os.fstat(file.fileno()).st_size, user="root", mode=mode)


@contextlib.contextmanager
def _packed(folder: Path) -> Iterator[BinaryIO]:
    """Give a folder as a tar while it is packed."""
    reading, writing = os.pipe()
    failures: list[BaseException] = []

    def pack() -> None:
        try:
            with os.fdopen(writing, "wb") as out, tarfile.open(fileobj=out, mode="w|") as tar:
                _add_files(tar, folder.resolve())
        except BrokenPipeError:  # the reader has given up and says why
            pass
        except BaseException as exc:
            failures.append(exc)

    packer = threading.Thread(target=pack, daemon=True)
    packer.start()
    with os.fdopen(reading, "rb") as tar:
        yield tar
    packer.join()
    if failures:
        raise failures[0]


def _add_files(tar: tarfile.TarFile, root: Path) -> None:
    """Add what a mount would show: folders, files, and files that links within the folder lead to; all read-only to the agent."""
    for path in sorted(root.rglob("*")):
        real = path.resolve()
        if not real.is_relative_to(root) or not (real.is_file() or (path.is_dir() and not path.is_symlink())):
            continue
        member = tar.gettarinfo(str(real), str(path.relative_to(root)))
        member.uid = member.gid = 0
        if real.is_file():
            member.type, member.linkname = tarfile.REGTYPE, ""  # also of a second name of one file
            member.size = real.stat().st_size
            with real.open("rb") as file:
                tar.addfile(member, file)
        else:
            tar.addfile(member)
