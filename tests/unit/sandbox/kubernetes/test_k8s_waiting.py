"""Why a pod waits, while it does."""

from typing import Any

import pytest

from harness.sandbox.kubernetes.waiting import what_is_used, why_a_pod_waits


def pending(node: str = "n1", waiting: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    states = [{"name": "main", "image": "dojo/task:cpu", "state": {"waiting": waiting}}] if waiting else []
    return {"spec": {"nodeName": node, **spec}, "status": {"phase": "Pending", "containerStatuses": states}}


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: Insufficient cpu"}


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        ({"status": {"phase": "Running"}}, ""),
        ({"status": {"phase": "Failed"}}, ""),
        (
            {"spec": {}, "status": {"phase": "Pending", "conditions": [UNSCHEDULABLE]}},
            "no node for its pod: 0/3 nodes: Insufficient cpu",
        ),
        (pending("", schedulingGates=[{"name": "kueue.x-k8s.io/admission"}]), "its pod waits for kueue.x-k8s.io/admission"),
        (pending(), "its pod starts on n1"),
        (pending(waiting={"reason": "ContainerCreating"}), "its pod starts on n1: ContainerCreating"),
        (
            pending(waiting={"reason": "ImagePullBackOff", "message": "not found"}),
            "its image dojo/task:cpu is not to be had on the node: ImagePullBackOff: not found",
        ),
    ],
)
def test_a_pod_waits_in_the_clusters_own_words(pod: dict[str, Any], said: str) -> None:
    assert why_a_pod_waits(pod) == said


def test_a_quota_is_told_as_the_api_counts_it() -> None:
    quota = {
        "metadata": {"name": "q"},
        "status": {"hard": {"pods": "2", "requests.cpu": "4"}, "used": {"pods": "2", "requests.cpu": "500m"}},
    }
    assert what_is_used([quota]) == "quota q has pods 2 of 2, requests.cpu 500m of 4 used"
    assert what_is_used([]) == what_is_used([{"metadata": {"name": "new"}}]) == ""
