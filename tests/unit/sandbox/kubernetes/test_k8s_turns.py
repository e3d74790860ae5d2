"""Which of the runs that hold one place and wait for another gives way."""

from typing import Any

import pytest

from harness.sandbox.kubernetes.turns import oldest_in_the_way

OLD, YOUNG, OTHER = "r20261129-090000-zzzzz", "r20261129-100000-aaaaa", "r20261129-110000-bbbbb"


def pod(run: str, role: str, placed: bool, **metadata: Any) -> dict[str, Any]:
    id = f"{run}-1-{role}"
    spec = {"nodeName": "n1"} if placed else {}
    return {
        "metadata": {"name": f"sb-{id}", "annotations": {"org.dojo.id": id}, **metadata},
        "spec": spec,
        "status": {"phase": "Running" if placed else "Pending"},
    }


def between(run: str) -> list[dict[str, Any]]:
    return [pod(run, "task", True), pod(run, "dev", False)]


@pytest.mark.parametrize(
    ("listed", "gives_way_to"),
    [
        ([*between(OLD), *between(YOUNG)], OLD),
        ([*between(YOUNG), *between(OTHER)], ""),
        (between(YOUNG), ""),
        ([pod(OLD, "task", True), *between(YOUNG)], ""),
        ([pod(OLD, "task", False), *between(YOUNG)], ""),
        ([*between(OLD), pod(YOUNG, "task", False)], ""),
    ],
    ids=[
        "to an older one that is between two places",
        "not to a younger one",
        "not where it waits alone",
        "not to one that has all it wants",
        "not to one that holds nothing",
        "not where it holds nothing itself",
    ],
)
def test_a_run_gives_way(listed: list[dict[str, Any]], gives_way_to: str) -> None:
    assert oldest_in_the_way(listed, YOUNG) == gives_way_to


def test_of_any_runs_between_two_places_all_but_one_give_way() -> None:
    listed = [*between(YOUNG), *between(OLD), *between(OTHER)]
    assert [oldest_in_the_way(listed, run) for run in (OLD, YOUNG, OTHER)] == ["", OLD, OLD]


def test_a_sandbox_that_a_quota_keeps_from_having_a_pod_waits_too() -> None:
    id = f"{OLD}-1-dev"
    secret = {"metadata": {"name": f"sb-{id}", "annotations": {"org.dojo.id": id}}, "data": {"token": "x"}}
    assert oldest_in_the_way([pod(OLD, "task", True), secret, *between(YOUNG)], YOUNG) == OLD
    made = pod(OLD, "dev", True)
    assert oldest_in_the_way([pod(OLD, "task", True), secret, made, *between(YOUNG)], YOUNG) == ""


def test_a_pod_that_is_going_holds_nothing() -> None:
    going = pod(OLD, "task", True, deletionTimestamp="2026-11-29T10:00:00Z")
    assert oldest_in_the_way([going, pod(OLD, "dev", False), *between(YOUNG)], YOUNG) == ""


def shares(run: str, node: str, **spec: Any) -> list[dict[str, Any]]:
    """A run that holds a place on a node and waits for a second one there, beside its GPUs."""
    first, second = between(run)
    first["spec"]["nodeName"] = node
    here = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [here]}}
    second["spec"] = {"affinity": {"nodeAffinity": required}, **spec}
    return [first, second]


def test_a_run_gives_way_to_one_that_waits_beside_its_gpus_only_where_it_holds_something_on_that_node() -> None:
    assert oldest_in_the_way([*shares(OLD, "n1"), *shares(YOUNG, "n1")], YOUNG) == OLD
    assert oldest_in_the_way([*shares(OLD, "n1"), *shares(YOUNG, "n2")], YOUNG) == ""
    assert oldest_in_the_way([*shares(OLD, "n1"), *shares(YOUNG, "n2"), *shares(OTHER, "n2")], OTHER) == YOUNG
    # what Kueue holds back waits for a quota of the whole cluster, and so does a sandbox that has no pod yet
    gate = [{"name": "kueue.x-k8s.io/admission"}]
    assert oldest_in_the_way([*shares(OLD, "n1", schedulingGates=gate), *shares(YOUNG, "n2")], YOUNG) == OLD
