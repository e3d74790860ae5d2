"""`dojo doctor sandbox` tries a real sandbox; here is what it makes of what comes back."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from harness.executor.doctor_sandbox import diagnose_sandbox
from harness.sandbox.base import Check, ExecResult, SandboxSpec
from harness.spec.errors import SandboxUnavailable


class Inside:
    closed = False

    def __init__(self, answer: ExecResult) -> None:
        self._answer = answer

    def exec(self, argv: list[str], **_: Any) -> ExecResult:
        return self._answer

    def close(self) -> None:
        self.closed = True


class Backend:
    name = "test"

    def __init__(self, make: Callable[[], Inside], ok: bool = True) -> None:
        self._make, self._ok = make, ok
        self.specs: list[SandboxSpec] = []

    def check(self) -> list[Check]:
        return [Check("isolation", self._ok, "as said")]

    def create(self, spec: SandboxSpec) -> Inside:
        self.specs.append(spec)
        return self._make()


def broken(exc: Exception) -> Callable[[], Inside]:
    def make() -> Inside:
        raise exc

    return make


def test_a_sandbox_in_which_all_goes_well_is_fine_and_gone_afterwards() -> None:
    inside = Inside(ExecResult(0, b"fine\n", b""))
    backend = Backend(lambda: inside)
    found = diagnose_sandbox(backend)  # type: ignore[arg-type]
    assert all(check.ok for check in found) and found[-1].name == "a sandbox"
    assert inside.closed and any(mount.target.endswith("grading/worker") for mount in backend.specs[0].mounts)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (broken(SandboxUnavailable("it died", hint="look there")), "it died"),
        (broken(OSError(errno.EACCES, "Permission denied", "/x")), "Permission denied"),
        (lambda: Inside(ExecResult(1, b"", b"PermissionError: dojo_tool.py")), "PermissionError"),
        (lambda: Inside(ExecResult(0, b"something else", b"")), "exit code 0"),
    ],
    ids=["none comes up", "the host refuses", "Python does not start", "nonsense"],
)
def test_a_sandbox_that_does_not_do_is_told_with_what_to_do(make: Callable[[], Inside], said: str) -> None:
    check = diagnose_sandbox(Backend(make))[-1]  # type: ignore[arg-type]
    assert not check.ok and said in check.detail and check.hint


def test_where_the_backend_lacks_something_no_sandbox_is_tried() -> None:
    backend = Backend(broken(AssertionError("tried")), ok=False)
    assert not all(check.ok for check in diagnose_sandbox(backend))  # type: ignore[arg-type]
    assert not backend.specs
