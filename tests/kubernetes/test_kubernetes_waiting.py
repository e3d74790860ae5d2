"""A sandbox that waits for its place says why while it waits, and what it ends as when it has waited too long."""

import os
import threading
import time
from collections.abc import Iterator

import pytest

from harness.sandbox.base import SandboxSpec
from harness.sandbox.contract import Stage
from harness.sandbox.kubernetes import KubernetesBackend, cluster
from harness.sandbox.kubernetes.settings import Settings
from harness.spec.errors import SandboxUnavailable
from harness.spec.outcome import Cause, Death
from harness.spec.task import Limits

pytestmark = pytest.mark.slow


@pytest.fixture
def full(settings: pytest.MonkeyPatch) -> Iterator[str]:
    """A namespace whose quota has no room."""
    core, name = cluster.core(), f"h-full-{os.getpid()}"
    core.create_namespace({"metadata": {"name": name}})
    try:
        core.create_namespaced_resource_quota(name, {"metadata": {"name": "lab"}, "spec": {"hard": {"pods": "0"}}})
        deadline = time.monotonic() + 30
        while not (core.read_namespaced_resource_quota("lab", name).status.hard or {}):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield name
    finally:
        core.delete_namespace(name)


def waits(backend: KubernetesBackend, spec: SandboxSpec) -> tuple[str, Death]:
    """Return what was said while a sandbox waited, and why it never came up."""
    deaths: list[Death] = []

    def create() -> None:
        try:
            backend.create(spec).close()
        except SandboxUnavailable as exc:
            deaths.append(exc.death)

    thread = threading.Thread(target=create)
    thread.start()
    said = ""
    while thread.is_alive() and "waits" not in said:
        said = backend.waiting().get(spec.id, "") or said
        time.sleep(0.1)
    thread.join()
    assert spec.id not in backend.waiting()
    return said, deaths[0]


def test_a_pod_that_fits_no_node_says_so_in_the_schedulers_words(stage: Stage) -> None:
    spec = stage.spec(limits=Limits(cpus=1024, memory_mb=128, disk_mb=64))
    said, death = waits(KubernetesBackend(Settings(wait=3.0)), spec)
    assert "no node for its pod" in said and "Insufficient cpu" in said
    assert death.cause is Cause.SCHEDULING and "Insufficient cpu" in death.text


def test_a_pod_for_which_the_quota_has_no_room_says_so(stage: Stage, full: str) -> None:
    said, death = waits(KubernetesBackend(Settings(namespace=full, wait=2.0)), stage.spec())
    assert said == "no pod is made for it: quota lab has pods 0 of 0 used"
    assert death.cause is Cause.SCHEDULING and "exceeded quota: lab" in death.text
