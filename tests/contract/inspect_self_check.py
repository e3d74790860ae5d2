"""Inspect's own checks on our provider, collected by pytest in Inspect's venv (`test_inspect_self_check.py` runs it).

``DOJO_CHECK_BACKEND`` and ``DOJO_CHECK_USER`` say on what and as whom.
"""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
from inspect_ai.util import sandboxenv  # noqa: F401  (a missing Inspect is one clear error)
from inspect_ai.util._sandbox.self_check import *  # noqa: F403

from harness.interop.inspect_provider import DojoSandboxEnvironment
from harness.sandbox.base import Sandbox, SandboxSpec
from harness.sandbox.registry import get_backend
from harness.spec.task import Limits

BACKEND, USER = os.environ["DOJO_CHECK_BACKEND"], os.environ["DOJO_CHECK_USER"]
LIMITS = Limits(cpus=2, memory_mb=1024, pids=128, disk_mb=512)

NO_NEW_USERS = "it adds a user with adduser, and the system inside is read-only on purpose; agent and root are there"
ROOT_MAY = "root may read and write whatever the mode says, here as everywhere"
EXPLAINED = {"test_exec_as_user": NO_NEW_USERS}
if USER == "root":
    EXPLAINED |= dict.fromkeys(
        ("test_read_file_not_allowed", "test_write_text_file_without_permissions", "test_write_binary_file_without_permissions"),
        ROOT_MAY,
    )


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    backend = get_backend(BACKEND)
    found = backend.create(SandboxSpec(f"pid{os.getpid()}-inspect-check", LIMITS))
    yield found
    found.close()


@pytest.fixture
async def sandbox_env(request: pytest.FixtureRequest, sandbox: Sandbox) -> AsyncIterator[DojoSandboxEnvironment]:
    if reason := EXPLAINED.get(request.node.originalname):
        request.node.add_marker(pytest.mark.xfail(reason=reason, strict=True))
    yield DojoSandboxEnvironment(sandbox, USER)  # type: ignore[arg-type]
