"""A second pod of a run that has GPUs: beside the first, with the same cards, asking for none, and never without seeing them."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from harness.sandbox.base import ExecResult, SandboxSpec
from harness.sandbox.kubernetes import pod, sharing
from harness.sandbox.kubernetes.settings import Settings
from harness.sandbox.kubernetes.sharing import Cards, Holder
from harness.sandbox.scripted import ScriptedSandbox
from harness.spec.errors import MissingError, NotFoundError
from harness.spec.task import Limits

RUN = "r20261129-120000-abcde"
LIMITS = Limits(cpus=2, memory_mb=1000, disk_mb=100, gpus=2)
SHARED = Settings(dev_grader="shared", queue="lab")
CARDS = Cards(("GPU-a", "GPU-b"), ("/dev/nvidia0", "/dev/nvidia1", "GPU-a", "GPU-b"))
LISTED = "GPU 0: NVIDIA H200 (UUID: GPU-a)\nGPU 1: NVIDIA H200 (UUID: GPU-b)\n"


def spec(role: str, **changes: Any) -> SandboxSpec:
    return SandboxSpec(f"{RUN}-1-{role}", LIMITS, gpu_owner=RUN, **changes)


def first(settings: Settings = SHARED) -> dict[str, Any]:
    """The pod of the run's sandbox, as it runs."""
    found = pod.pod(spec("task"), settings, "dojo/task:cuda", "sb-x-12345678")
    found["metadata"]["uid"] = "0-1-2"
    found["spec"] |= {"nodeName": "n1", "nodeSelector": {"flavor": "h200"}}
    return found | {"status": {"phase": "Running"}}


def second(settings: Settings = SHARED) -> dict[str, Any]:
    return pod.pod(spec("dev"), settings, "dojo/grader:cuda", "sb-y-12345678", Holder(first(settings), CARDS))


def test_it_asks_for_no_gpu_and_is_shown_the_holders_by_name() -> None:
    (main,) = second()["spec"]["containers"]
    assert all("nvidia.com/gpu" not in amounts for amounts in main["resources"].values())
    assert main["resources"]["limits"]["cpu"] == "2000m", "it computes as much as one with GPUs of its own"
    assert {"name": "NVIDIA_VISIBLE_DEVICES", "value": "GPU-a,GPU-b"} in main["env"]
    assert first()["spec"]["containers"][0]["resources"]["requests"]["nvidia.com/gpu"] == "2"
    assert not [each for each in first()["spec"]["containers"][0]["env"] if each["name"] == "NVIDIA_VISIBLE_DEVICES"]


def test_it_goes_to_the_holders_node_by_the_scheduler_and_away_with_the_holder() -> None:
    body = second()
    assert "nodeName" not in body["spec"] and sharing.pinned_to(body) == "n1" and sharing.pinned_to(first()) == ""
    assert body["spec"]["nodeSelector"] == {"flavor": "h200"}, "Kueue counts it in the flavor of its node"
    assert body["spec"]["tolerations"] == first()["spec"]["tolerations"]
    assert [each["uid"] for each in body["metadata"]["ownerReferences"]] == ["0-1-2"]


def test_no_quota_of_gpus_counts_it_and_one_of_all_pods_does() -> None:
    assert pod.QUEUE_LABEL in first()["metadata"]["labels"] and pod.QUEUE_LABEL not in second()["metadata"]["labels"]
    everything = SHARED.model_copy(update={"queued": "all"})
    assert second(everything)["metadata"]["labels"][pod.QUEUE_LABEL] == "lab"


class Api:
    """The pods and Secrets of a namespace."""

    def __init__(self, *pods: dict[str, Any], secrets: tuple[dict[str, Any], ...] = ()) -> None:
        self.pods, self.secrets = pods, {each["metadata"]["name"]: each for each in secrets}

    def list_namespaced_pod(self, namespace: str, *, label_selector: str, **_: Any) -> Any:
        name, _, value = label_selector.partition("=")
        found = [each for each in self.pods if each["metadata"]["labels"].get(name) == value]
        return type("Listed", (), {"data": json.dumps({"items": found, "metadata": {}}).encode()})

    def read_namespaced_secret(self, name: str, namespace: str, **_: Any) -> Any:
        if name not in self.secrets:
            raise NotFoundError(name)
        return type("Read", (), {"data": self.secrets[name]["data"]})


@pytest.fixture
def cluster_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    return lambda *given, **named: monkeypatch.setattr(sharing.cluster, "core", lambda: Api(*given, **named))


def known(cards: Cards = CARDS) -> dict[str, Any]:
    return sharing.kept({"metadata": {"name": "sb-x-12345678", "namespace": "s", "ownerReferences": [{"uid": "1"}]}}, cards)


def test_the_holder_is_the_living_pod_of_the_same_run_that_asked_for_gpus(cluster_of: Callable[..., None]) -> None:
    other = pod.pod(spec("task"), SHARED, "i", "sb-z-12345678")
    other["metadata"]["labels"][sharing.OWNER_LABEL] = "another-run"
    cluster_of(other, second() | {"status": {"phase": "Running"}}, first(), secrets=(known(),))
    found = sharing.holder_of(spec("dev"), SHARED)
    assert found is not None and (found.node, found.cards) == ("n1", CARDS) and found.pod["metadata"]["uid"] == "0-1-2"
    assert known()["metadata"]["ownerReferences"] == [{"uid": "1"}], "what is known of cards goes with their sandbox"


@pytest.mark.parametrize(
    "pods",
    [
        (),
        (first() | {"status": {"phase": "Failed"}},),
        (first() | {"metadata": {**first()["metadata"], "deletionTimestamp": "2026-11-29T10:00:00Z"}},),
    ],
    ids=["after its end", "after its failure", "on its way out"],
)
def test_without_a_living_holder_a_pod_asks_for_gpus_itself_as_the_last_grader_does(
    cluster_of: Callable[..., None], pods: tuple[dict[str, Any], ...]
) -> None:
    cluster_of(*pods, secrets=(known(),))
    assert sharing.holder_of(spec("grade"), SHARED) is None
    body = pod.pod(spec("grade"), SHARED, "i", "s", None)
    assert body["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2" and "affinity" not in body["spec"]


def test_nothing_is_looked_for_where_nothing_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing.cluster, "core", lambda: pytest.fail("the cluster was asked"))
    assert sharing.holder_of(spec("dev"), Settings()) is None
    assert sharing.OWNER_LABEL not in first(Settings())["metadata"]["labels"]
    without = SandboxSpec("x", LIMITS.model_copy(update={"gpus": 0}), gpu_owner=RUN)
    assert sharing.holder_of(without, SHARED) is None
    assert sharing.holder_of(SandboxSpec("x", LIMITS), SHARED) is None


def test_a_holder_of_before_the_setting_is_an_error_and_no_second_gpu(cluster_of: Callable[..., None]) -> None:
    cluster_of(first())
    with pytest.raises(MissingError, match=r"cards of the pod .* are not known") as raised:
        sharing.holder_of(spec("dev"), SHARED)
    assert raised.value.code == "gpus_not_shared" and "DOJO_K8S_DEV_GRADER=own" in raised.value.hint


def saying(stdout: str, exit_code: int = 0, timed_out: bool = False) -> ScriptedSandbox:
    return ScriptedSandbox(spec("task"), answer=lambda call: ExecResult(exit_code, stdout.encode(), b"", timed_out=timed_out))


@pytest.mark.parametrize(
    ("said", "names"),
    [
        (f"GPU-b,GPU-a\n/dev/nvidia0\n/dev/nvidia1\n{LISTED}", ("GPU-b", "GPU-a")),
        (f"0,1\n/dev/nvidia0\n/dev/nvidia1\n{LISTED}", ("GPU-a", "GPU-b")),
        (f"void\n{LISTED}", ("GPU-a", "GPU-b")),
        (f"/var/run/nvidia-container-devices\n{LISTED}", ("GPU-a", "GPU-b")),
        (
            "\n/dev/nvidia0\nGPU 0: H200 (UUID: GPU-a)\n  MIG 1g Device  0: (UUID: MIG-c)\n  MIG 1g Device  1: (UUID: MIG-d)",
            ("MIG-c", "MIG-d"),
        ),
        ("GPU-fake-0,GPU-fake-1\n", ("GPU-fake-0", "GPU-fake-1")),
    ],
    ids=["by the variable", "numbers", "CDI", "mounts", "instances", "pretended"],
)
def test_cards_are_named_by_the_runtime_or_by_the_driver_and_asked_as_root(said: str, names: tuple[str, ...]) -> None:
    sandbox = saying(said)
    found = sharing.cards_of(sandbox)
    assert found.names == names and found.seen == tuple(sorted(found.seen))
    assert [call.user for call in sandbox.calls] == ["root"]


@pytest.mark.parametrize("said", ["", "all\n", "GPU-a\n", "GPU-a,$(reboot)\n", f"all\n{LISTED}GPU 2: H200 (UUID: GPU-c)\n"])
def test_cards_that_nothing_names_are_said_before_an_agent_starts(said: str) -> None:
    with pytest.raises(MissingError, match="has 2 GPUs and nothing says which") as raised:
        sharing.cards_of(saying(said))
    assert raised.value.code == "gpus_not_shared" and "DOJO_K8S_DEV_GRADER=own" in raised.value.hint


def test_a_driver_that_does_not_answer_is_told() -> None:
    with pytest.raises(MissingError, match="nvidia-smi does not answer"):
        sharing.cards_of(saying("", timed_out=True))


def test_a_pod_that_does_not_see_the_cards_is_never_left_to_grade_without_them() -> None:
    holder = Holder(first(), CARDS)
    sharing.require_cards(saying(f"GPU-a,GPU-b\n/dev/nvidia1\n/dev/nvidia0\n{LISTED}"), holder)
    for blind in ("GPU-a,GPU-b\n", f"GPU-a,GPU-b\n/dev/nvidia0\n{LISTED}", "GPU-a,GPU-b\n/dev/nvidia0\n/dev/nvidia1\n"):
        with pytest.raises(MissingError, match=r"was to share GPU-a, GPU-b with the pod .* on n1: that sees") as raised:
            sharing.require_cards(saying(blind), holder)
        assert raised.value.code == "gpus_not_shared"
        assert "accept-nvidia-visible-devices-envvar-when-unprivileged" in raised.value.hint
        assert "DOJO_K8S_DEV_GRADER=own" in raised.value.hint


def test_what_is_kept_of_cards_is_what_was_found() -> None:
    (data,) = known()["data"].values()
    assert json.loads(base64.b64decode(data)) == {"names": list(CARDS.names), "seen": list(CARDS.seen)}
