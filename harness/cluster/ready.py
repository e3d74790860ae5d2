"""Waiting until what was installed is ready, and saying what it waits for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from harness.cluster import objects
from harness.cluster.kustomize import Object, identity
from harness.sandbox.kubernetes import cluster
from harness.sandbox.kubernetes.deaths import cannot_start, waiting_for_a_place
from harness.spec.progress import Progress

_LOOK_S, _SAY_S = 1.0, 15.0
_WORKLOADS = ("StatefulSet", "Deployment")


def unready(body: Object) -> str:
    """Say why an object is not ready; "" where it is, or where there is nothing to wait for.

    Args:
        body: the object as the API gives it.
    """
    status: Object = body.get("status") or {}
    if body["kind"] == "PersistentVolumeClaim":
        phase = status.get("phase", "Pending")
        # one of a class that waits for its first pod is bound with it
        return "" if phase == "Bound" else f"is {phase.lower()}: no volume for it yet"
    if body["kind"] not in _WORKLOADS:
        return ""
    wanted, ready = body["spec"].get("replicas", 1), status.get("readyReplicas", 0)
    if status.get("observedGeneration", 0) < body["metadata"].get("generation", 0):
        return "has not been taken up by the cluster yet"
    if status.get("updatedReplicas", 0) < wanted or ready < wanted or status.get("replicas", 0) > wanted:
        return f"{ready} of {wanted} ready, {status.get('updatedReplicas', 0)} of them up to date"
    return ""


def wait_until_ready(bodies: Sequence[Object], say: Progress, patience_s: float) -> None:
    """Wait until all workloads are ready, or for ``patience_s`` seconds; what is not ready then is for `check` to tell."""
    names = [identity(body) for body in bodies if body["kind"] in _WORKLOADS]
    end, told = time.monotonic() + patience_s, 0.0
    while True:
        waits = [(name, why) for name in names if (why := _why(*name))]
        if not waits or time.monotonic() > end:
            return
        if time.monotonic() > told:
            for (kind, _, name), why in waits:
                say(f"waits      {kind} {name}: {why}")
            told = time.monotonic() + _SAY_S
        time.sleep(_LOOK_S)


def _why(kind: str, namespace: str, name: str) -> str:
    there = objects.read(kind, namespace, name)
    if there is None:
        return "is gone"
    why = unready({"kind": kind, **there})
    return f"{why}{''.join(f'; {words}' for words in pods_say(there))}" if why else ""


def pods_say(workload: Object) -> list[str]:
    """Return what keeps the pods of a workload, in the cluster's words, each once."""
    chosen = ",".join(f"{key}={value}" for key, value in workload["spec"]["selector"]["matchLabels"].items())
    core = cluster.core()
    found: Any = cluster.ask(
        "listing pods", core.list_namespaced_pod, workload["metadata"]["namespace"], label_selector=chosen, patience_s=30.0
    )
    pods: list[Object] = core.api_client.sanitize_for_serialization(found.items)
    words = (waiting_for_a_place(pod) or cannot_start(pod) or _crashed(pod) for pod in pods)
    return list(dict.fromkeys(filter(None, words)))


def _crashed(pod: Object) -> str:
    status = pod.get("status") or {}
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        ended = (container.get("lastState") or {}).get("terminated") or {}
        if (container.get("state") or {}).get("waiting") and ended:
            said = (ended.get("message") or "").strip().splitlines()
            return f"{container['name']} ended with exit code {ended.get('exitCode')}: {' '.join(said[-2:])[-300:]}"
    return ""
