"""Two sandboxes of a run on one GPU: who is counted, what they are shown, and what becomes of the second without the first."""

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from harness.cluster.install import Plan, rendered
from harness.sandbox.base import Sandbox, SandboxSpec
from harness.sandbox.contract import Stage
from harness.sandbox.kubernetes import KubernetesBackend, cluster, sharing
from harness.sandbox.kubernetes.backend import pod_of
from harness.sandbox.kubernetes.probe import try_sharing
from harness.sandbox.kubernetes.settings import Settings
from harness.spec.errors import MissingError, SandboxUnavailable
from harness.spec.outcome import Cause
from harness.spec.task import Limits
from tests.kubernetes.gpus import require_gpu
from tests.kubernetes.test_kubernetes_walls import until

pytestmark = pytest.mark.slow
LIMITS = Limits(cpus=0.2, memory_mb=128, disk_mb=64, gpus=1)


@pytest.fixture(scope="module")
def one_gpu(settings: pytest.MonkeyPatch) -> Iterator[str]:
    """A closed namespace whose quota is one GPU."""
    require_gpu()
    from kubernetes.client import NetworkingV1Api

    core, name = cluster.core(), f"h-gpu-{os.getpid()}"
    policy = next(b for b in rendered(Plan()) if b["kind"] == "NetworkPolicy" and b["metadata"]["namespace"] == "dojo-sandboxes")
    core.create_namespace({"metadata": {"name": name}})
    try:
        NetworkingV1Api(core.api_client).create_namespaced_network_policy(name, {**policy, "metadata": {"name": "closed"}})
        core.create_namespaced_resource_quota(
            name, {"metadata": {"name": "lab"}, "spec": {"hard": {f"requests.{sharing.GPU}": "1"}}}
        )
        until(lambda: core.read_namespaced_resource_quota("lab", name).status.hard)
        with settings.context() as patch:
            patch.setenv("DOJO_IMAGE_GRADER", os.environ["DOJO_IMAGE_TASK"])
            yield name
    finally:
        core.delete_namespace(name)


def backend(namespace: str, **more: Any) -> KubernetesBackend:
    chosen: dict[str, Any] = {"namespace": namespace, "priority_class": "", "dev_grader": "shared", "wait": 60.0, **more}
    return KubernetesBackend(Settings(**chosen))


def made(namespace: str, run: str, role: str, **more: Any) -> Sandbox:
    return backend(namespace, **more).create(SandboxSpec(f"{run}-1-{role}", LIMITS, gpu_owner=run))


def gpus_counted(namespace: str) -> int:
    return int(cluster.core().read_namespaced_resource_quota("lab", namespace).status.used[f"requests.{sharing.GPU}"])


def pod_in(namespace: str, sandbox: Sandbox) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOJO_K8S_NAMESPACE", namespace)
        return pod_of(sandbox)


def cards(sandbox: Sandbox) -> str:
    return sandbox.exec(["sh", "-c", "echo $NVIDIA_VISIBLE_DEVICES"]).stdout.decode().strip()


def test_the_second_sandbox_of_a_run_has_the_gpu_of_the_first_and_no_quota_counts_it(one_gpu: str) -> None:
    with closing(made(one_gpu, "r1", "task")) as first:
        with closing(made(one_gpu, "r1", "dev")) as second:
            assert cards(first) == cards(second) != ""
            pods = [pod_in(one_gpu, sandbox) for sandbox in (first, second)]
            assert len({pod["spec"]["nodeName"] for pod in pods}) == 1
            assert [sharing.holds_gpus(pod) for pod in pods] == [True, False] and gpus_counted(one_gpu) == 1
        with closing(made(one_gpu, "r1", "dev")) as again:  # as where a grader broke, while the agent is at work
            assert cards(first) == cards(again)
    until(lambda: gpus_counted(one_gpu) == 0)
    with closing(made(one_gpu, "r1", "grade")) as last:
        assert sharing.holds_gpus(pod_in(one_gpu, last)) and gpus_counted(one_gpu) == 1


def test_without_the_setting_the_second_waits_for_a_gpu_of_its_own(one_gpu: str) -> None:
    until(lambda: gpus_counted(one_gpu) == 0)
    with closing(made(one_gpu, "r2", "task", dev_grader="own")), pytest.raises(SandboxUnavailable) as raised:
        made(one_gpu, "r2", "dev", dev_grader="own", wait=2.0)
    assert raised.value.death.cause is Cause.SCHEDULING and "exceeded quota: lab" in raised.value.death.text


def test_another_runs_sandbox_shares_nothing(one_gpu: str) -> None:
    until(lambda: gpus_counted(one_gpu) == 0)
    with closing(made(one_gpu, "r3", "task")), pytest.raises(SandboxUnavailable, match="exceeded quota"):
        made(one_gpu, "r4", "dev", wait=2.0)


def test_the_second_goes_when_somebody_takes_the_first_away(one_gpu: str) -> None:
    until(lambda: gpus_counted(one_gpu) == 0)
    with closing(made(one_gpu, "r5", "task")) as first, closing(made(one_gpu, "r5", "dev")) as second:
        cluster.core().delete_namespaced_pod(pod_in(one_gpu, first)["metadata"]["name"], one_gpu)
        until(lambda: not second.alive())


def test_a_pod_that_does_not_see_the_card_of_its_run_ends_with_what_to_do(one_gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the runtime does not heed what a pod names: the first is made to have seen a node that the second has not."""
    until(lambda: gpus_counted(one_gpu) == 0)
    with monkeypatch.context() as patch:
        look = sharing._look
        patch.setattr(sharing, "_look", lambda sandbox: (look(sandbox)[0], ("/dev/nvidia0",)))
        first = made(one_gpu, "r6", "task")
    with closing(first), pytest.raises(MissingError, match="that sees /dev/nvidia0, and it sees none") as raised:
        made(one_gpu, "r6", "dev")
    assert raised.value.code == "gpus_not_shared" and "DOJO_K8S_DEV_GRADER=own" in raised.value.hint
    assert [id for id in backend(one_gpu).list() if id.startswith("r6")] == []


def test_the_doctor_tries_a_pair(one_gpu: str, stage: Stage) -> None:
    until(lambda: gpus_counted(one_gpu) == 0)
    found = try_sharing(Settings(namespace=one_gpu, priority_class="", dev_grader="shared", wait=60.0))
    assert found.ok and "sees the GPU of another" in found.detail
