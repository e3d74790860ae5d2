"""Why a pod does not answer, from what the API says of it: the cluster's own words, and the cause that they mean.

What an agent can bring about is its own doing (`AGENT_ERROR`): no agent makes its run begin again by ending its pod.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from harness.sandbox.jail.pod import NETWORK_OPEN, OUT_OF_MEMORY
from harness.spec.outcome import Cause, Death

# reasons of a pod's status or of its condition DisruptionTarget: somebody else wanted the place, or the node went
_TAKEN = frozenset(
    {
        "Evicted", "Preempted", "Preempting", "NodeLost", "NodeShutdown", "Shutdown", "Terminated", "UnexpectedAdmissionError",
        "PreemptionByScheduler", "DeletionByTaintManager", "EvictionByEvictionAPI", "DeletionByPodGC", "TerminationByKubelet",
        "PreemptionByKueue", "WorkloadEvictedDueToPreempted",
    }
)  # fmt: skip
# a kubelet that was offered the pod had no room for it after all
_NO_ROOM = ("OutOf", "Outof", "NodeAffinity")
# What the kubelet says of a pod that wrote more than it may (pkg/kubelet/eviction/helpers.go); only where its disk is the node's.
_WROTE_TOO_MUCH = (
    "Usage of EmptyDir volume",
    "exceeded its local ephemeral storage limit",
    "Pod ephemeral local storage usage exceeds",
)
# Files have no limit for each pod, and the kubelet ends the one with the most of them first.
_TOO_MANY_FILES = "The node was low on resource: inodes"
_NO_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
_NO_START = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"})


def death_of(pod: dict[str, Any] | None) -> Death:
    """Return what is known of a pod that does not answer.

    Args:
        pod: the pod as the API gives it (``kubectl get pod -o json``); None where there is none.
    """
    if pod is None:
        return Death(Cause.EVICTED, "its pod is gone: deleted, or its node was")
    status = pod.get("status") or {}
    main = _terminated(status, "main")
    if main and _for_memory(main) and not _taken_before(pod, main):
        code = main.get("exitCode")
        return Death(
            Cause.AGENT_ERROR, f"its pod was ended for want of memory inside its own limit ({main.get('reason')}, {code})"
        )
    if said := _wrote_too_much(pod, status):
        return Death(Cause.AGENT_ERROR, said)
    for said in _evictions(pod, status):
        return Death(Cause.EVICTED, said)
    if str(status.get("reason", "")).startswith(_NO_ROOM):
        return Death(Cause.SCHEDULING, f"its node had no room for its pod: {status['reason']}: {status.get('message', '')}")
    for name in ("main", "fill"):
        ended = _terminated(status, name)
        if ended and (name == "main" or ended.get("exitCode")):
            return Death(Cause.SANDBOX, _ending(name, ended))
    if why := waiting_for_a_place(pod):
        return Death(Cause.SCHEDULING, why)
    if why := cannot_start(pod):
        return Death(Cause.SANDBOX, why)
    return Death(Cause.SANDBOX, f"its pod is {str(status.get('phase', 'unknown')).lower()}")


def disruption(pod: dict[str, Any]) -> str:
    """Return who took a pod's place away, in the cluster's words; "" where nobody did."""
    return next(iter(_evictions(pod, pod.get("status") or {})), "")


def still_runs(pod: dict[str, Any] | None) -> bool:
    """Whether the cluster knows of no reason why a pod should not answer: its kubelet may be about to say one."""
    if pod is None or (pod.get("metadata") or {}).get("deletionTimestamp"):
        return False
    status = pod.get("status") or {}
    return status.get("phase") == "Running" and _terminated(status, "main") is None


def containers(status: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the states of both containers, the later one first."""
    return [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]


def waiting_for_a_place(pod: dict[str, Any]) -> str:
    """Return why a pod has no node yet, in the words of Kueue or the scheduler; nothing if it has one."""
    if (pod.get("spec") or {}).get("nodeName"):
        return ""
    gates = [gate["name"] for gate in (pod.get("spec") or {}).get("schedulingGates") or ()]
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if (
            condition["type"] == "PodScheduled"
            and condition["status"] == "False"
            and condition.get("reason") != "SchedulingGated"
        ):
            return f"no node for its pod: {condition.get('message') or condition.get('reason')}"
    if gates:
        return f"its pod waits for {', '.join(gates)}"
    return "its pod has not been scheduled"


def cannot_start(pod: dict[str, Any]) -> str:
    """Return why a pod that has a node will not start without help; nothing if it may."""
    for container in containers(pod.get("status") or {}):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, said = waiting.get("reason", ""), waiting.get("message", "")
        if reason in _NO_IMAGE:
            return f"its image {container['image']} is not to be had on the node: {reason}: {said}"
        if reason in _NO_START:
            return f"its container {container['name']} does not start: {reason}: {said}"
    return ""


def _terminated(status: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Return how a container ended; None if it has not."""
    states = [container.get("state") or {} for container in containers(status) if container["name"] == name]
    return next((state["terminated"] for state in states if state.get("terminated")), None)


def _for_memory(ended: dict[str, Any]) -> bool:
    """Whether want of memory ended a container: as a whole, or its first process or execd.

    With control groups v1 a container says so too if it ended for another reason after a command was killed. That it is then
    taken for the agent's doing is the lesser evil: memory that it had used up may have been that reason.
    """
    return ended.get("reason") == "OOMKilled" or ended.get("exitCode") == OUT_OF_MEMORY


def _taken_before(pod: dict[str, Any], ended: dict[str, Any]) -> bool:
    """Whether the pod had been taken away before its container ended, in which case that was no doing of its own."""
    finished = _time(ended.get("finishedAt"))
    metadata = pod.get("metadata") or {}
    deleted = _time(metadata.get("deletionTimestamp"))  # when its grace is over
    taken = [] if deleted is None else [deleted - float(metadata.get("deletionGracePeriodSeconds") or 0)]
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            taken.append(_time(condition.get("lastTransitionTime")) or 0.0)
    return any(finished is None or time <= finished for time in taken)


def _time(text: str | None) -> float | None:
    """Read a time of the API, which has whole seconds."""
    return datetime.fromisoformat(text).timestamp() if text else None


def _wrote_too_much(pod: dict[str, Any], status: dict[str, Any]) -> str:
    """Return what the kubelet says of a pod that it ended for what was written in it; nothing if that was not so."""
    said = str(status.get("message", ""))
    if status.get("reason") != "Evicted":
        return ""
    if any(words in said for words in _WROTE_TOO_MUCH):
        return f"its pod was ended for what was written in it: {said.strip()}"
    volumes = {volume["name"]: volume for volume in (pod.get("spec") or {}).get("volumes") or ()}
    on_the_nodes = (volumes.get("disk") or {}).get("emptyDir", {"medium": "Memory"}).get("medium") != "Memory"
    return f"its pod was ended for the number of its files: {said.strip()}" if on_the_nodes and _TOO_MANY_FILES in said else ""


def _evictions(pod: dict[str, Any], status: dict[str, Any]) -> list[str]:
    found = []
    if status.get("reason") in _TAKEN:
        found.append(f"its pod was taken away: {status['reason']}: {status.get('message', '')}".rstrip(": "))
    for condition in status.get("conditions") or ():
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            found.append(f"its pod was taken away: {condition.get('reason')}: {condition.get('message', '')}".rstrip(": "))
    if (pod.get("metadata") or {}).get("deletionTimestamp") and not found:
        found.append("its pod is being deleted")
    return found


def _ending(name: str, ended: dict[str, Any]) -> str:
    if ended.get("exitCode") == NETWORK_OPEN:
        return "its network is open: no policy closes it, and nothing of an agent was started (k8s/base has the policy)"
    if ended.get("reason") == "OOMKilled":
        return f"its container {name} ran out of memory"
    words = (ended.get("message") or "").strip()[-1500:]
    said = f"its container {name} ended: {ended.get('reason')}, exit code {ended.get('exitCode')}"
    return f"{said}; last words: {words}" if words else said
