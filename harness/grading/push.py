"""Copying a directory of the host into a sandbox, as a stream: nothing is stored twice on the host."""

from __future__ import annotations

import os
import tarfile
import threading
from collections.abc import Iterable
from pathlib import Path

from harness.sandbox.base import Sandbox


def push_directory(sandbox: Sandbox, directory: Path, target: str, names: Iterable[str]) -> None:
    """Copy the named regular files of a directory to ``target`` in the sandbox, owned by its unprivileged user.

    Raises:
        OSError: a file could not be read, or the sandbox's disk is full.
        SandboxError: from the sandbox.
    """
    read_end, write_end = os.pipe()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            with open(write_end, "wb") as out, tarfile.open(fileobj=out, mode="w|") as tar:
                for name in sorted(names):
                    _add(tar, directory / name)
        except BaseException as exc:
            failures.append(exc)

    writer = threading.Thread(target=write, name="push-submission", daemon=True)
    writer.start()
    try:
        with open(read_end, "rb") as stream:
            sandbox.extract(target, stream)
    finally:
        writer.join()
    # the reader closing early makes the writer fail too; then the reader has raised already
    if failures:
        raise failures[0]


def _add(tar: tarfile.TarFile, path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with open(descriptor, "rb") as file:
        info = tarfile.TarInfo(path.name)
        info.size, info.mode = os.fstat(descriptor).st_size, 0o644
        tar.addfile(info, file)
