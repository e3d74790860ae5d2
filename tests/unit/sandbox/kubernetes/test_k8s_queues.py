"""Whose queue of Kueue admits a sandbox, and what is said where nobody has made it."""

import getpass
import re
from collections.abc import Callable
from typing import Any

import pytest

from harness.executor.contract import _spec
from harness.executor.planner import BatchPlan
from harness.sandbox.base import SandboxSpec
from harness.sandbox.kubernetes import pod, queues
from harness.sandbox.kubernetes.settings import Settings
from harness.service.queues import require_queue
from harness.spec.errors import MissingError, NotFoundError, SandboxError, UsageError
from harness.spec.task import Limits

EACH = Settings(queue="dojo-{owner}", namespace="s")


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Lets a cluster have LocalQueues, by the API's older version alone; returns what is asked for."""

    def have(*names: str, error: Exception | None = None) -> list[str]:
        asked: list[str] = []

        def ask(what: str, call: Any, group: str, version: str, namespace: str, plural: str, name: str, **_: Any) -> Any:
            asked.append(name)
            assert (group, namespace, plural) == ("kueue.x-k8s.io", "s", "localqueues")
            if error is not None:
                raise error
            if name not in names or version != "v1beta1":
                raise NotFoundError(name)

        monkeypatch.setattr(queues.cluster, "core", lambda: type("Core", (), {"api_client": None}))
        monkeypatch.setattr(queues.cluster, "ask", ask)
        return asked

    return have


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("ann", "dojo-ann"),
        ("a1-b2", "dojo-a1-b2"),
        ("ann.b", "dojo-ann-b-[0-9a-f]{6}"),
        ("ann_b", "dojo-ann-b-[0-9a-f]{6}"),
        ("ANN", "dojo-ann-[0-9a-f]{6}"),
        ("__", "dojo-[0-9a-f]{6}"),
    ],
)
def test_a_queue_is_called_by_its_owner(owner: str, name: str) -> None:
    assert re.fullmatch(name, queues.name_for("dojo-{owner}", owner))


@pytest.mark.parametrize("template", ["{owner}", "dojo-{owner}", "lab-of-people-who-share-a-cluster-{owner}-gpus"])
def test_every_owner_has_a_name_of_his_own_that_kubernetes_takes(template: str) -> None:
    owners = ["ann", "ann.b", "ann_b", "ann-b", "a" * 40, "a" * 39 + "b", "Ann", "-", "ä", "x" * 200]
    names = [queues.name_for(template, owner) for owner in owners]
    assert len(set(names)) == len(owners) and all(len(name) <= 63 for name in names)
    assert all(Settings.from_environment({"DOJO_K8S_QUEUE": name}).queue == name for name in names)


def test_one_queue_for_all_is_named_without_asking_anybody(there: Callable[..., list[str]]) -> None:
    asked = there()
    lab = Settings(queue="lab")
    assert queues.named(lab, "ann") is lab and queues.named(Settings(), "ann").queue == "" and asked == []


def test_sandboxes_carry_their_owners_queue_and_without_a_service_that_of_who_submits(there: Callable[..., list[str]]) -> None:
    there("dojo-ann", queues.name_for("dojo-{owner}", getpass.getuser()))
    for role in ("task", "dev", "grade"):
        body = pod.pod(SandboxSpec(role, Limits(gpus=1)), queues.named(EACH, "ann"), "i", "s")
        assert body["metadata"]["labels"][pod.QUEUE_LABEL] == "dojo-ann"
    assert queues.named(EACH).queue == queues.name_for("dojo-{owner}", getpass.getuser())


def test_an_owner_without_a_queue_is_refused_by_its_name_or_has_the_one_for_such(there: Callable[..., list[str]]) -> None:
    there("others")
    with pytest.raises(MissingError, match=r"no LocalQueue dojo-bob in s for bob$") as raised:
        queues.require(EACH, "bob")
    assert raised.value.code == "no_queue" and "DOJO_K8S_QUEUE_FALLBACK" in raised.value.hint
    assert queues.require(EACH.model_copy(update={"queue_fallback": "others"}), "bob") == "others"
    with pytest.raises(MissingError, match="dojo-bob in s for bob, and no gone for who has none"):
        queues.require(EACH.model_copy(update={"queue_fallback": "gone"}), "bob")
    with pytest.raises(MissingError, match=r"no LocalQueue lab in s$"):
        queues.require(Settings(queue="lab", namespace="s"), "bob")


def test_who_may_not_look_is_believed_and_a_broken_cluster_is_not(there: Callable[..., list[str]]) -> None:
    there(error=SandboxError("not for you", code="refused"))
    assert queues.require(EACH, "ann") == "dojo-ann"
    there(error=SandboxError("full", code="quota"))
    with pytest.raises(SandboxError, match="full"):
        queues.require(EACH, "ann")


def plan(gpus: int = 1, **settings: str) -> BatchPlan:
    spec = _spec("b1", Limits(gpus=gpus)).model_copy(update={"sandbox": "kubernetes"})
    return BatchPlan.model_construct(batch="b1", runs=(spec,), settings=settings)


def test_a_submit_is_refused_before_anything_is_written_down(
    there: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOJO_K8S_QUEUE", "dojo-{owner}")
    monkeypatch.setenv("DOJO_K8S_NAMESPACE", "s")
    asked = there("dojo-ann")
    require_queue(plan(owner="ann", executor="kubernetes"))
    with pytest.raises(MissingError, match="no LocalQueue dojo-bob"):
        require_queue(plan(owner="bob", executor="kubernetes"))
    with pytest.raises(UsageError, match="executor local of this service makes the sandboxes of all its users as one"):
        require_queue(plan(owner="ann", executor="local"))
    asked.clear()
    require_queue(plan(gpus=0, owner="bob", executor="kubernetes"))
    assert asked == [], "no queue admits what has no GPUs"
