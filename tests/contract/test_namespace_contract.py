"""The backend `namespace` keeps every promise of the contract, for the user who runs the tests."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.sandbox import cgroups
from harness.sandbox.client import ExecdSandbox
from harness.sandbox.contract import PROMISES, Promise, Stage
from harness.sandbox.contract.promise import expect_error, wait_until
from harness.sandbox.execd import tree
from harness.sandbox.folder import SandboxFolder
from harness.sandbox.namespace import NamespaceBackend
from harness.spec.errors import SandboxError


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(NamespaceBackend(), tmp_path_factory.mktemp("contract")) as stage:
        yield stage


@pytest.mark.parametrize("promise", PROMISES, ids=str)
def test_the_namespace_backend_keeps_its_promise(promise: Promise, stage: Stage) -> None:
    missing = cgroups.find_hierarchies().missing
    if promise.group in ("memory", "cpu") and promise.group in missing:
        pytest.skip(f"no control group for {promise.group} as user {os.geteuid()}: the backend's check says so")
    promise.check(stage)


def test_nothing_remains_of_all_that(stage: Stage) -> None:
    shared = stage.sandbox.spec.id
    assert [id for id in NamespaceBackend().list() if id.startswith(f"contract-{os.getpid()}-")] == [shared]


def command_service(sandbox: ExecdSandbox) -> int:
    """Return the process inside the limits that the first process of the sandbox made."""
    limited = cgroups.Group(cgroups.find_hierarchies(), sandbox.spec.id).procs_files
    first = SandboxFolder("sb", sandbox.spec.id).first_process()
    assert first is not None
    (service,) = {int(pid) for pid in Path(limited[0]).read_text().split()} & set(tree.children(first))
    return service


@pytest.mark.skipif(bool(cgroups.find_hierarchies().missing), reason="told apart by its control group, and there is none")
def test_a_deadline_outlives_the_service_that_runs_commands(stage: Stage) -> None:
    """Want of memory may kill that service; a new one knows the deadline too."""
    with stage.new() as sandbox:
        assert sandbox.exec(["true"]).ok
        service = command_service(sandbox)
        sandbox.set_deadline(3.0)
        os.kill(service, signal.SIGKILL)
        wait_until(lambda: sandbox.exec(["true"]).ok, "the new service")
        sandbox.start(["sleep", "600"], name="agent")
        wait_until(lambda: not sandbox.poll("agent").running, "the deadline")
        assert sandbox.poll("agent").deadline and sandbox.usage().processes == 0
        with expect_error(SandboxError, "deadline"):
            sandbox.exec(["true"])


@pytest.mark.skipif(bool(cgroups.find_hierarchies().missing), reason="told apart by its control group, and there is none")
@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda s: s.exec(["true"]).ok, id="a command"),
        pytest.param(lambda s: s.start(["true"]), id="a process"),
        pytest.param(lambda s: s.start(["true"], name="agent"), id="a named process"),
    ],
)
def test_what_a_dying_worker_did_not_read_is_asked_of_another(stage: Stage, ask: Callable[[ExecdSandbox], object]) -> None:
    """When the service is killed for want of memory, workers of kept connections die a moment later."""
    with stage.new() as sandbox:
        assert sandbox.exec(["true"]).ok
        (worker,) = tree.children(command_service(sandbox))
        os.kill(worker, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask, sandbox)
            time.sleep(0.3)
            assert not asked.done()
            os.kill(worker, signal.SIGKILL)
            assert asked.result(30)


@pytest.fixture(scope="module")
def stage_in_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The backend on a host without loop devices or mkfs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.sandbox.namespace.disk_kind", lambda: ("tmpfs", "as if there were no loop devices"))
        with Stage(NamespaceBackend(), tmp_path_factory.mktemp("contract")) as stage:
            yield stage


@pytest.mark.parametrize("promise", [p for p in PROMISES if p.group in ("disk", "memory", "files", "shared")], ids=str)
def test_without_loop_devices_a_tmpfs_keeps_the_promises_too(promise: Promise, stage_in_memory: Stage) -> None:
    if promise.group == "memory" and "memory" in cgroups.find_hierarchies().missing:
        pytest.skip(f"no control group for memory as user {os.geteuid()}: the backend's check says so")
    promise.check(stage_in_memory)
