"""Why a pod does not answer, told from what the API says of it."""

from typing import Any

import pytest

from harness.sandbox.jail.pod import NETWORK_OPEN, OUT_OF_MEMORY
from harness.sandbox.kubernetes.checks import closes
from harness.sandbox.kubernetes.deaths import cannot_start, death_of, still_runs, waiting_for_a_place
from harness.spec.outcome import Cause, Outcome


def placed(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "sb"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running", **status}}


def ended(name: str = "main", **state: Any) -> dict[str, Any]:
    return placed(phase="Failed", containerStatuses=[{"name": name, "image": "i", "state": {"terminated": state}}])


def evicted(message: str, medium: str = "Memory") -> dict[str, Any]:
    pod = placed(phase="Failed", reason="Evicted", message=message)
    pod["spec"]["volumes"] = [{"name": "disk", "emptyDir": {"medium": medium} if medium else {}}]
    return pod


def disrupted(reason: str, at: str = "2026-11-28T12:00:00Z", **status: Any) -> dict[str, Any]:
    said = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "by somebody", "lastTransitionTime": at}
    return placed(conditions=[said], **status)


def deleted(pod: dict[str, Any]) -> dict[str, Any]:
    """Asked for at 12:00:00."""
    return {**pod, "metadata": {"deletionTimestamp": "2026-11-28T12:00:01Z", "deletionGracePeriodSeconds": 1}}


OUT: dict[str, Any] = {"reason": "OOMKilled", "exitCode": 137}
BEFORE, AFTER = "2026-11-28T11:59:58Z", "2026-11-28T12:00:01Z"
SOMEBODY, ITSELF, NODE = "somebody who takes pods away", "the agent in it", "the node, or dojo"


@pytest.mark.parametrize(
    ("who", "pod", "cause", "said"),
    [
        (SOMEBODY, None, Cause.EVICTED, "its pod is gone"),
        (SOMEBODY, placed(phase="Failed", reason="NodeLost"), Cause.EVICTED, "NodeLost"),
        (SOMEBODY, placed(phase="Failed", reason="Preempted"), Cause.EVICTED, "Preempted"),
        (SOMEBODY, disrupted("PreemptionByScheduler"), Cause.EVICTED, "by somebody"),
        (SOMEBODY, disrupted("DeletionByTaintManager"), Cause.EVICTED, "DeletionByTaintManager"),
        (SOMEBODY, deleted(placed()), Cause.EVICTED, "being deleted"),
        (SOMEBODY, deleted(ended(reason="Error", exitCode=1)), Cause.EVICTED, "being deleted"),
        (SOMEBODY, deleted(ended(**OUT, finishedAt=AFTER)), Cause.EVICTED, "being deleted"),
        (SOMEBODY, disrupted("EvictionByEvictionAPI", **ended(**OUT, finishedAt=AFTER)["status"]), Cause.EVICTED, "by somebody"),
        (ITSELF, deleted(ended(**OUT, finishedAt=BEFORE)), Cause.AGENT_ERROR, "want of memory"),
        (ITSELF, disrupted("EvictionByEvictionAPI", **ended(**OUT, finishedAt=BEFORE)["status"]), Cause.AGENT_ERROR, "memory"),
        (ITSELF, ended(**OUT), Cause.AGENT_ERROR, "want of memory inside its own limit (OOMKilled, 137)"),
        (ITSELF, ended(reason="OOMKilled", exitCode=0), Cause.AGENT_ERROR, "(OOMKilled, 0)"),
        (ITSELF, ended(reason="OOMKilled", exitCode=1), Cause.AGENT_ERROR, "(OOMKilled, 1)"),
        (ITSELF, ended(reason="Error", exitCode=OUT_OF_MEMORY), Cause.AGENT_ERROR, "want of memory"),
        (ITSELF, evicted('Usage of EmptyDir volume "disk" exceeds the limit "64Mi". '), Cause.AGENT_ERROR, 'limit "64Mi".'),
        (ITSELF, evicted('Container main exceeded its local ephemeral storage limit "1Gi". '), Cause.AGENT_ERROR, "1Gi"),
        (
            ITSELF,
            evicted("Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. "),
            Cause.AGENT_ERROR,
            "1Gi",
        ),
        (ITSELF, evicted("The node was low on resource: inodes. ", medium=""), Cause.AGENT_ERROR, "the number of its files"),
        (NODE, evicted("The node was low on resource: inodes. "), Cause.EVICTED, "inodes"),
        (NODE, evicted("The node was low on resource: memory. "), Cause.EVICTED, "low on resource: memory"),
        (NODE, evicted("The node was low on resource: ephemeral-storage. ", medium=""), Cause.EVICTED, "ephemeral-storage"),
        (NODE, evicted("The node was low on resource: pids. "), Cause.EVICTED, "pids"),
        (
            NODE,
            placed(phase="Failed", reason="OutOfcpu", message="Pod was rejected"),
            Cause.SCHEDULING,
            "OutOfcpu: Pod was rejected",
        ),
        (NODE, ended(reason="Error", exitCode=NETWORK_OPEN), Cause.SANDBOX, "its network is open"),
        (NODE, ended(reason="Error", exitCode=1, message="Traceback"), Cause.SANDBOX, "last words: Traceback"),
        (NODE, ended(reason="ContainerStatusUnknown", exitCode=137), Cause.SANDBOX, "ContainerStatusUnknown"),
        (NODE, ended(name="fill", reason="Error", exitCode=2), Cause.SANDBOX, "its container fill ended"),
        (NODE, ended(name="fill", **OUT), Cause.SANDBOX, "its container fill ran out of memory"),
        (NODE, placed(), Cause.SANDBOX, "its pod is running"),
    ],
)
def test_a_death_has_the_clusters_words_and_the_cause_of_whoever_brought_it_about(
    who: str, pod: dict[str, Any] | None, cause: Cause, said: str
) -> None:
    death = death_of(pod)
    assert death.cause is cause and said in death.text
    again = Outcome(cause=cause, phase="agent").retried
    assert again is (who is not ITSELF), "what an agent can bring about is never tried again"


def test_a_pod_whose_end_the_kubelet_has_not_told_yet_still_runs_for_the_cluster() -> None:
    assert still_runs(placed())
    for told in (None, ended(**OUT), deleted(placed()), placed(phase="Failed"), placed(phase="Pending")):
        assert not still_runs(told)


def test_an_init_container_that_has_done_its_work_is_no_death() -> None:
    done = {"name": "fill", "image": "i", "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}
    running = {"name": "main", "image": "i", "state": {"running": {}}}
    assert death_of(placed(initContainerStatuses=[done], containerStatuses=[running])).text == "its pod is running"


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        ({"spec": {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}, "status": {}}, "kueue.x-k8s.io/admission"),
        (
            {
                "spec": {},
                "status": {
                    "conditions": [
                        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: no cpu"}
                    ]
                },
            },
            "0/1 nodes: no cpu",
        ),
        ({"spec": {}, "status": {}}, "not been scheduled"),
    ],
)
def test_a_pod_without_a_node_waits_for_a_place(pod: dict[str, Any], said: str) -> None:
    assert said in waiting_for_a_place(pod)
    death = death_of(pod)
    assert death.cause is Cause.SCHEDULING and said in death.text


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "CreateContainerConfigError"])
def test_what_will_not_start_without_help_is_said_at_once(reason: str) -> None:
    waiting = {"name": "main", "image": "dojo/task:cpu", "state": {"waiting": {"reason": reason, "message": "words"}}}
    pod = placed(phase="Pending", containerStatuses=[waiting])
    assert reason in cannot_start(pod) and "words" in death_of(pod).text


def test_one_that_is_being_made_may_start() -> None:
    waiting = {"name": "main", "image": "i", "state": {"waiting": {"reason": "PodInitializing"}}}
    assert cannot_start(placed(phase="Pending", containerStatuses=[waiting])) == ""


@pytest.mark.parametrize(
    ("spec", "kept"),
    [
        ({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, True),
        ({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{"from": []}]}, True),
        ({"podSelector": {}, "policyTypes": ["Ingress"]}, False),
        ({"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": [{}]}, False),
        ({"podSelector": {"matchLabels": {"a": "b"}}, "policyTypes": ["Ingress", "Egress"]}, False),
    ],
)
def test_only_a_policy_for_all_pods_that_lets_nothing_out_closes_them(spec: dict[str, Any], kept: bool) -> None:
    assert closes({"spec": spec}) is kept
