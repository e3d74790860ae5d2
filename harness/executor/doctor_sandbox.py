"""`dojo doctor sandbox`: what the backend says of this host, and then a real sandbox in which a grader's code is read."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path

from harness.assets.grader_side import grader_code
from harness.grading.worker import protocol
from harness.sandbox.base import Backend, Check, Mount, SandboxSpec
from harness.session.readable_places import check_readable
from harness.spec.errors import DojoError
from harness.spec.task import Limits

# Starting Python on a busy machine takes seconds, not minutes.
_PATIENCE_S = 60.0
_LIMITS = Limits(memory_mb=512, disk_mb=64, pids=64)
_PROGRAM = "import harness.grading.worker.protocol; open('written', 'w').write('x'); print('fine')"


def diagnose_sandbox(backend: Backend) -> list[Check]:
    """Return the backend's own checks and, where they are all fine, how a sandbox came up."""
    found = [*backend.check(), check_readable({"dojo's own code": [path for path, _ in grader_code()]}, backend)]
    return found if any(not check.ok for check in found) else [*found, try_sandbox(backend, grader_code())]


def diagnose_kubernetes(backend: Backend) -> list[Check]:
    """Return the backend's own checks and, where they are all fine, what a sandbox in the cluster finds out by trying."""
    from harness.sandbox.kubernetes.probe import probe

    found = backend.check()
    return found if any(not check.ok for check in found) else [*found, *probe()]


def try_sandbox(backend: Backend, code: Iterable[tuple[Path, str]]) -> Check:
    """Make a sandbox, let its user import a grader's code and write a file, and take it down.

    Args:
        backend: where.
        code: what is shown: where it lies on this host, and where below the grader's folder.
    """
    mounts = tuple(Mount(source, f"{protocol.CODE}/{place}") for source, place in code)
    hint = "start dojo as runs will be started, with --debug; see what the message names"
    try:
        sandbox = backend.create(SandboxSpec(f"doctor-{secrets.token_hex(4)}", _LIMITS, mounts))
        try:
            tried = sandbox.exec(["python", "-c", _PROGRAM], env={"PYTHONPATH": protocol.CODE}, timeout_s=_PATIENCE_S)
        finally:
            sandbox.close()
    except (DojoError, OSError) as exc:
        return Check("a sandbox", False, f"none comes up: {exc}", getattr(exc, "hint", "") or hint)
    said = tried.stderr.decode(errors="replace").strip()[-300:]
    if tried.exit_code or tried.stdout != b"fine\n":
        return Check("a sandbox", False, f"Python inside ended with exit code {tried.exit_code}: {said}", hint)
    return Check("a sandbox", True, "one was made, its user ran Python, read a grader's code and wrote a file")
