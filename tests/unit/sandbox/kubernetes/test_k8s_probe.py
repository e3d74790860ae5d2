"""What `dojo doctor k8s` says of nodes and of a probe, line by line."""

from typing import Any, ClassVar

import pytest

from harness.executor import doctor_sandbox
from harness.sandbox.base import Check, ExecResult
from harness.sandbox.kubernetes import probe
from harness.sandbox.kubernetes.settings import Settings
from harness.sandbox.reach import FarEnd
from harness.sandbox.scripted import Call, ScriptedBackend, ScriptedSandbox
from harness.spec.errors import MissingError, SandboxUnavailable
from harness.spec.outcome import Cause, Death


def node(
    name: str, images: tuple[str, ...] = (), gpus: tuple[int, int] = (0, 0), ready: str = "True", **spec: Any
) -> dict[str, Any]:
    gpu = "nvidia.com/gpu"
    return {
        "metadata": {"name": name},
        "spec": spec,
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "images": [{"names": [image]} for image in images],
            "allocatable": {gpu: str(gpus[0])} if gpus[1] else {},
            "capacity": {gpu: str(gpus[1])} if gpus[1] else {},
        },
    }


def test_only_nodes_that_take_pods_are_looked_at() -> None:
    nodes = [node("a"), node("b", ready="Unknown"), node("c", unschedulable=True)]
    assert [found["metadata"]["name"] for found in probe.usable(nodes)] == ["a"]


@pytest.mark.parametrize(
    ("image", "there", "pull", "ok", "said"),
    [
        ("dojo/task:cpu", "docker.io/dojo/task:cpu", "IfNotPresent", True, "on every node that needs it (1)"),
        ("task", "docker.io/library/task:latest", "Never", True, "on every node that needs it (1)"),
        ("dojo/task:cpu", "docker.io/dojo/task:cuda", "IfNotPresent", False, "not on 1 of 1 nodes: n"),
        ("reg.lab:5000/task:1", "x", "IfNotPresent", True, "pulled from reg.lab:5000"),
        ("reg.lab:5000/task:1", "x", "Never", False, "not on 1 of 1 nodes"),
        ("localhost/task:1", "x", "Always", True, "pulled from localhost"),
    ],
)
def test_an_image_is_on_every_node_or_can_be_pulled(image: str, there: str, pull: str, ok: bool, said: str) -> None:
    check = probe.image_on([node("n", (there,))], image, Settings(pull=pull))  # type: ignore[arg-type]
    assert (check.ok, said in check.detail) == (ok, True), check
    assert ok or "DOJO_IMAGE_TASK" in check.hint


def test_gpus_are_counted_by_node_and_broken_ones_are_named() -> None:
    assert probe.gpus_of([node("a")]) == Check(
        "gpus", True, "none on 1 nodes: profiles for CPUs alone (a device plugin offers nvidia.com/gpu)"
    )
    assert probe.gpus_of([node("a"), node("b", gpus=(8, 8))]).detail == "b 8"
    sick = probe.gpus_of([node("b", gpus=(8, 8)), node("c", gpus=(7, 8))])
    assert not sick.ok and sick.detail == "b 8, c 7 of 8" and "of c" in sick.hint


class Probed(ScriptedBackend):
    """Takes the place of the cluster."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(lambda spec: ScriptedSandbox(spec, answer=self.answer))
        assert settings.wait < 3600, "a doctor does not wait for an hour"
        type(self).last = self

    last: ClassVar[Any]
    reached: ClassVar[bool] = False
    full: ClassVar[bool] = False
    refusal: ClassVar[Exception | None] = None

    def answer(self, call: Call) -> ExecResult:
        if call.argv[0] == "sh":
            return ExecResult(1, b"", b"No space left") if self.full else ExecResult(0, b"", b"")
        return ExecResult(0, b"[false, true]" if self.reached else b"[false, false]", b"")

    def create(self, spec: Any) -> Any:
        if self.refusal is not None:
            raise self.refusal
        return super().create(spec)


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(probe, "KubernetesBackend", Probed)
    monkeypatch.setattr(probe, "pod_of", lambda sandbox: {})
    ends = [FarEnd("the cluster's API", "tcp", "10.0.0.1", 443), FarEnd("metadata", "tcp", "169.254.169.254", 80)]
    monkeypatch.setattr(probe, "around", lambda pod: ends)
    return monkeypatch


def lines() -> dict[str, Check]:
    return {check.name: check for check in probe._try_a_sandbox(Settings(wait=1.0))}


def test_a_probe_tries_the_walls_and_the_disk_and_leaves_nothing(probed: pytest.MonkeyPatch) -> None:
    found = lines()
    assert all(check.ok for check in found.values()) and set(found) == {"policy in force", "storage"}
    assert "2 addresses and names and reached none: the cluster's API, metadata" in found["policy in force"].detail
    assert Probed.last.list() == []


def test_each_line_that_is_not_fine_has_its_remedy(probed: pytest.MonkeyPatch) -> None:
    probed.setattr(Probed, "reached", True)
    probed.setattr(Probed, "full", True)
    found = lines()
    assert not found["policy in force"].ok and "metadata (tcp 169.254.169.254:80)" in found["policy in force"].detail
    assert "enforce NetworkPolicies" in found["policy in force"].hint
    assert not found["storage"].ok and "No space left" in found["storage"].detail
    probed.setattr(Probed, "refusal", SandboxUnavailable("did not come up: its network is open: no policy"))
    assert "stayed open" in lines()["policy in force"].detail and "flannel" in lines()["policy in force"].hint
    probed.setattr(Probed, "refusal", SandboxUnavailable("no node for its pod", hint="wait"))
    assert lines()["a sandbox"] == Check("a sandbox", False, "none comes up: no node for its pod", "wait")


def test_sharing_a_gpu_is_tried_with_two_sandboxes_of_one_owner(probed: pytest.MonkeyPatch) -> None:
    found = probe.try_sharing(Settings(wait=1.0, dev_grader="shared"))
    assert found.ok and "sees the GPU of another" in found.detail and Probed.last.list() == []
    blind = MissingError("it sees none", hint="DOJO_K8S_DEV_GRADER=own", code="gpus_not_shared")
    probed.setattr(Probed, "refusal", blind)
    found = probe.try_sharing(Settings(wait=1.0, dev_grader="shared"))
    assert (found.ok, found.detail, found.hint) == (False, "it sees none", "DOJO_K8S_DEV_GRADER=own")
    full = Death(Cause.SCHEDULING, "Insufficient nvidia.com/gpu")
    probed.setattr(Probed, "refusal", SandboxUnavailable("no node", death=full))
    assert probe.try_sharing(Settings(wait=1.0)) == Check("shared gpus", True, "not tried: no node")
    probed.setattr(Probed, "refusal", SandboxUnavailable("no image"))
    assert not probe.try_sharing(Settings(wait=1.0)).ok


def test_nothing_is_tried_in_a_cluster_that_lacks_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "probe", lambda: [Check("tried", True, "")])
    backend = ScriptedBackend()
    assert [check.name for check in doctor_sandbox.diagnose_kubernetes(backend)] == ["script", "tried"]
    monkeypatch.setattr(backend, "check", lambda: [Check("rights", False, "none", "apply")])
    assert [check.name for check in doctor_sandbox.diagnose_kubernetes(backend)] == ["rights"]
