"""The backend `namespace` keeps every promise of the contract, for the user who runs the tests."""

import os
from collections.abc import Iterator

import pytest

from harness.sandbox import cgroups
from harness.sandbox.contract import PROMISES, Promise, Stage
from harness.sandbox.namespace import NamespaceBackend


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


@pytest.fixture(scope="module")
def stage_in_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The backend on a host without loop devices or mkfs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.sandbox.namespace.disk_kind", lambda: ("tmpfs", "as if there were no loop devices"))
        with Stage(NamespaceBackend(), tmp_path_factory.mktemp("contract")) as stage:
            yield stage


@pytest.mark.parametrize("promise", [p for p in PROMISES if p.group in ("disk", "memory", "files")], ids=str)
def test_without_loop_devices_a_tmpfs_keeps_the_promises_too(promise: Promise, stage_in_memory: Stage) -> None:
    if promise.group == "memory" and "memory" in cgroups.find_hierarchies().missing:
        pytest.skip(f"no control group for memory as user {os.geteuid()}: the backend's check says so")
    promise.check(stage_in_memory)
