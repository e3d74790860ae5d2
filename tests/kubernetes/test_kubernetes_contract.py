"""The backend `kubernetes` keeps its promises on a real cluster: `scripts/cluster.sh up`, then DOJO_TEST_KUBECONFIG."""

import os
import socket

import pytest

from harness.sandbox.contract import PROMISES, Promise, Stage
from harness.sandbox.kubernetes import KubernetesBackend, cluster
from harness.spec.errors import SandboxUnavailable

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("promise", [p for p in PROMISES if p.group not in KubernetesBackend.not_promised], ids=str)
def test_the_kubernetes_backend_keeps_its_promise(promise: Promise, stage: Stage) -> None:
    promise.check(stage)


def test_nothing_remains_of_all_that(stage: Stage) -> None:
    shared = stage.sandbox.spec.id
    assert [id for id in KubernetesBackend().list() if id.startswith(f"contract-{os.getpid()}-")] == [shared]


def test_the_cluster_is_fit(stage: Stage) -> None:
    assert [check for check in KubernetesBackend().check() if not check.ok] == []


def test_no_agent_starts_in_a_pod_whose_network_is_open(stage: Stage, settings: pytest.MonkeyPatch) -> None:
    """In a namespace that no policy closes the API server answers."""
    core, name = cluster.core(), f"dojo-open-{os.getpid()}"
    core.create_namespace({"metadata": {"name": name}})
    try:
        with settings.context() as patch:
            patch.setenv("DOJO_K8S_NAMESPACE", name)
            assert "no policy closes" in next(c.detail for c in KubernetesBackend().check() if c.name == "policy")
            spec = stage.spec()
            with pytest.raises(SandboxUnavailable, match="network is open"):
                KubernetesBackend().create(spec)
            assert spec.id not in KubernetesBackend().list()
    finally:
        core.delete_namespace(name)


def test_an_image_that_no_node_has_is_said_at_once(stage: Stage, settings: pytest.MonkeyPatch) -> None:
    with settings.context() as patch:
        patch.setenv("DOJO_IMAGE_TASK", "dojo/no-such-image:1")
        patch.setenv("DOJO_K8S_PULL", "Never")
        spec = stage.spec()
        with pytest.raises(SandboxUnavailable, match="ErrImageNeverPull"):
            KubernetesBackend().create(spec)
    assert spec.id not in KubernetesBackend().list()


def test_nothing_outside_can_speak_to_a_sandbox_without_its_token(stage: Stage) -> None:
    found = cluster.core().read_namespaced_pod(stage.sandbox._host.name, "dojo-sandboxes")  # type: ignore[attr-defined]
    with socket.create_connection((found.status.pod_ip, 7443), timeout=10) as sock:
        sock.sendall(b'{"token": "", "to": "commands"}\n')
        assert sock.recv(100)[:1] in (b"", b"\x15"), "a TLS alert, or nothing"
