"""What the machine is to blame for, and what it is not."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from harness.files import write_atomic
from harness.spec.environment import environment_error, exit_code
from harness.spec.errors import MissingError, StoreError

PLACES = {"DOJO_HOME": Path("/h"), "DOJO_CACHE": Path("/c")}


def os_error(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    ("exc", "message", "hint"),
    [
        (os_error(errno.ENOSPC, "/c/x"), "/c/x: No space left on device", "free space there, or set DOJO_CACHE to another place"),
        (os_error(errno.ENOSPC), "No space left on device", "free space in /h (DOJO_HOME), /c (DOJO_CACHE)"),
        (os_error(errno.EACCES, "/h"), "/h: Permission denied", "the right to it, or set DOJO_HOME to another place"),
        (os_error(errno.EROFS, "/else"), "/else: Read-only file system", "mount it writable"),
        (os_error(errno.EMFILE, "/c/x"), "/c/x: Too many open files", "raise the limit on open files (ulimit -n)"),
        (os_error(errno.ENOTDIR, "/c\n/x"), "/c\\n/x: Not a directory", "remove what lies there"),
        (os_error(errno.ENOENT, "/c/x"), "/c/x is not there", "bring it back, or set DOJO_CACHE to another place"),
        (os_error(errno.ENOENT, "mkfs.ext4"), "the program mkfs.ext4 is not there", "install it, or put it on PATH"),
        (FileNotFoundError(2, "No usable temporary directory found"), "No usable temporary directory found", "TMPDIR"),
        (RuntimeError("Symlink loop from '/c/x'"), "/c/x: Too many levels of symbolic links", "remove the link"),
        (MemoryError(), "there is not enough memory", "free memory"),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), "not UTF-8: '\\udcff'", "rename it"),
    ],
)  # fmt: skip
def test_what_the_machine_does_not_allow_has_a_place_and_a_remedy(exc: BaseException, message: str, hint: str) -> None:
    found = environment_error(exc, PLACES)
    assert isinstance(found, MissingError) and found.message.endswith(message) and found.exit_code == 3
    assert hint in found.hint


@pytest.mark.parametrize(
    "exc",
    [KeyError("x"), ValueError("x"), os_error(errno.EBADF), os_error(errno.ENOENT, "/e/x"), os_error(errno.EINVAL), OSError()],
)  # fmt: skip
def test_what_may_be_our_own_fault_is_not_blamed_on_the_machine(exc: BaseException) -> None:
    assert environment_error(exc, PLACES) is None


def test_a_working_directory_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError) as caught:
        Path.cwd()
    found = environment_error(caught.value, {})
    assert found is not None and found.message == "the working directory is gone"


def test_a_program_that_is_missing_is_named() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        subprocess.run(["no-such-program"], check=False)
    found = environment_error(caught.value, PLACES)
    assert found is not None and "no-such-program" in found.message


def test_the_results_directory_that_the_machine_keeps_from_us_is_exit_code_3() -> None:
    def raised(cause: BaseException | None, code: str | None = None) -> StoreError:
        found = StoreError("x", code=code)
        found.__cause__ = cause
        return found

    assert exit_code(raised(os_error(errno.EROFS, "/h"))) == exit_code(raised(None, "environment")) == 3
    assert exit_code(raised(None)) == exit_code(raised(ValueError())) == exit_code(raised(os_error(errno.ENOENT))) == 1


def test_a_write_that_fails_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise os_error(errno.ENOSPC)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/x'"):
        write_atomic(tmp_path / "x", b"y")
    assert not list(tmp_path.iterdir())
