"""What a cluster has room for is said before anything is prepared."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from harness.executor.kubernetes.jobs import Jobs
from harness.sandbox.kubernetes.settings import Settings
from harness.spec.errors import MissingError
from harness.spec.task import Limits

LIMITS = Limits(cpus=2, memory_mb=1000, disk_mb=500, gpus=1)


def jobs(*nodes: dict[str, str]) -> Jobs:
    """Jobs of a cluster that has these nodes."""
    found = {"items": [{"status": {"allocatable": node}} for node in nodes]}
    made: Any = Jobs.__new__(Jobs)
    made.core = SimpleNamespace(list_node=lambda **_: SimpleNamespace(data=json.dumps(found).encode()))
    return made  # type: ignore[no-any-return]


def node(cpu: str = "4", memory: str = "8Gi", gpus: str = "2") -> dict[str, str]:
    return {"cpu": cpu, "memory": memory, "nvidia.com/gpu": gpus}


@pytest.mark.parametrize("nodes", [(node(),), (node("2500m", "4Gi", "1"), node("2", "2Gi", "1"))], ids=["on one", "on two"])
def test_a_cluster_with_room_for_the_two_sandboxes_of_a_run_is_taken(nodes: tuple[dict[str, str], ...]) -> None:
    jobs(*nodes).check(LIMITS, Settings())


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ((node(cpu="1900m"), node(cpu="1")), "2 CPUs; the largest node of the cluster has 1.9 of cpu"),
        ((node(cpu="3"),), "2 sandboxes at a time.*room for 1"),
        ((node(gpus="1"), node(gpus="0")), "2 sandboxes at a time.*1 GPUs.*room for 1"),
        ((node(memory="3Gi"),), "2 sandboxes at a time.*1000 MB of memory and 500 of disk.*room for 1"),
    ],
)
def test_a_cluster_in_which_a_run_would_wait_for_ever_is_refused(nodes: tuple[dict[str, str], ...], said: str) -> None:
    with pytest.raises(MissingError, match=said):
        jobs(*nodes).check(LIMITS, Settings())


def test_what_pods_ask_for_counts_and_not_what_they_may_use() -> None:
    jobs(node(cpu="1", memory="4Gi")).check(LIMITS, Settings(cpu_share=0.25, disk="node"))


SHARED = Settings(dev_grader="shared")


def test_where_gpus_are_shared_one_node_has_to_have_room_for_both_and_gpus_for_one() -> None:
    jobs(node(gpus="1"), node(gpus="0")).check(LIMITS, SHARED)
    with pytest.raises(MissingError, match=r"DOJO_K8S_DEV_GRADER=shared.*no node of the cluster has room for both") as raised:
        jobs(node("2500m", "4Gi", "1"), node("2", "2Gi", "1")).check(LIMITS, SHARED)
    assert "DOJO_K8S_DEV_GRADER=own" in raised.value.hint
    with pytest.raises(MissingError, match="no node of the cluster has room for both"):
        jobs(node(gpus="1", cpu="3"), node(gpus="0", cpu="64")).check(LIMITS, SHARED)


def test_without_gpus_there_is_nothing_to_share() -> None:
    jobs(node("2500m", "4Gi", "0"), node("2", "2Gi", "0")).check(LIMITS.model_copy(update={"gpus": 0}), SHARED)
