"""The backend `namespace` as an ordinary user: the same promises, for a user who is nobody on this host."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.ordinary_user import ONE_USER, WITHOUT, contract, reachable_python, readable_copy, with_subordinates


@pytest.fixture(scope="module")
def world() -> Iterator[Path]:
    with readable_copy() as root:
        yield root


@pytest.mark.skipif(os.geteuid() != 0, reason="the whole contract suite runs as this ordinary user already")
def test_the_namespace_backend_keeps_its_promises_for_an_ordinary_user(world: Path) -> None:
    python = reachable_python()
    if python is None:
        pytest.skip(f"no Python {sys.version_info[:2]} here that another user may run")
    done = contract(world, python, "namespace", *(part for group in (*WITHOUT, *ONE_USER) for part in ("--without", group)))
    if "this host cannot isolate a sandbox" in done.stdout + done.stderr:
        pytest.skip("ordinary users have no namespaces on this host")
    broken = [line for line in done.stdout.splitlines() if "BROKEN" in line]
    assert done.returncode == 0 and not broken, "\n".join(broken) + done.stderr[-2000:]
    assert " 0 broken" in done.stdout.splitlines()[-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes an ordinary user who has subordinate users")
@pytest.mark.skipif(not all(map(shutil.which, ("newuidmap", "newgidmap"))), reason="newuidmap (package uidmap) is not here")
def test_it_keeps_them_with_a_user_for_each_sandbox_where_there_are_subordinate_users(world: Path) -> None:
    python = reachable_python()
    if python is None:
        pytest.skip(f"no Python {sys.version_info[:2]} here that another user may run")
    groups = (part for group in WITHOUT for part in ("--without", group))
    done = contract(world, python, "namespace", *groups, prefix=with_subordinates(world))
    broken = [line for line in done.stdout.splitlines() if "BROKEN" in line]
    assert done.returncode == 0 and not broken, "\n".join(broken) + done.stderr[-2000:]
    assert "users-what_the_kernel_counts_by_user_is_not_shared" in done.stdout


def test_a_host_that_cannot_isolate_is_refused_with_the_remedy(world: Path) -> None:
    """Inside a sandbox nobody may make namespaces: a host that allows none."""
    from harness.sandbox.base import Mount, SandboxSpec
    from harness.sandbox.namespace import NamespaceBackend
    from harness.spec.task import Limits

    python = reachable_python() or sys.executable
    program = """
import sys
sys.path.insert(0, "/world")
from harness.sandbox.namespace import NamespaceBackend
from harness.sandbox.base import SandboxSpec
from harness.spec.errors import IsolationUnavailable
from harness.spec.task import Limits
backend = NamespaceBackend()
check = backend.check()[0]
print(check.ok, "unsafe-local" in check.hint)
try:
    backend.create(SandboxSpec("never", Limits()))
except IsolationUnavailable as exc:
    print(exc.exit_code, "cannot isolate" in exc.message, "user namespaces" in exc.hint, "unsafe-local" in exc.hint)
print(backend.list())
"""
    spec = SandboxSpec(f"refuses-{os.getpid()}", Limits(), mounts=(Mount(world, "/world"),))
    sandbox = NamespaceBackend().create(spec)
    try:
        result = sandbox.exec([python, "-B", "-c", program], timeout_s=120)
    finally:
        sandbox.close()
    assert result.stdout == b"False True\n3 True True True\n[]\n", result
