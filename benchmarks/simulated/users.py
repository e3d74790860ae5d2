"""Two users' sandboxes before Kueue: who gets how much of the GPUs while both want them."""

from __future__ import annotations

import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_API = ("kueue.x-k8s.io", "v1beta2")
_COVERED = ("cpu", "memory", "nvidia.com/gpu")
FIRST, SECOND = "ann", "bob"
# the first user asks for so many times as much, and earlier
_MORE = 3


def queues(name: str, gpus: int, apart: bool) -> list[tuple[str, dict[str, Any]]]:
    """Return Kueue's objects for two users: one ClusterQueue for both, or one each that lend to each other."""

    def cluster_queue(called: str, share: int) -> dict[str, Any]:
        room = {"cpu": "100k", "memory": "1Pi", "nvidia.com/gpu": share}
        resources = [{"name": kind, "nominalQuota": room[kind]} for kind in _COVERED]
        groups = [{"coveredResources": list(_COVERED), "flavors": [{"name": name, "resources": resources}]}]
        spec: dict[str, Any] = {"namespaceSelector": {}, "queueingStrategy": "BestEffortFIFO", "resourceGroups": groups}
        return {"kind": "ClusterQueue", "metadata": {"name": called}, "spec": {**spec, **({"cohortName": name} if apart else {})}}

    users = (FIRST, SECOND)
    made = [cluster_queue(f"{name}-{user}", gpus // 2) for user in users] if apart else [cluster_queue(name, gpus)]
    local = [
        {"kind": "LocalQueue", "metadata": {"name": user}, "spec": {"clusterQueue": f"{name}-{user}" if apart else name}}
        for user in users
    ]
    flavor = {"kind": "ResourceFlavor", "metadata": {"name": name}}
    plural = {"ResourceFlavor": "resourceflavors", "ClusterQueue": "clusterqueues", "LocalQueue": "localqueues"}
    return [(plural[body["kind"]], {"apiVersion": "/".join(_API), **body}) for body in (flavor, *made, *local)]


def share(core: Any, namespace: str, name: str, gpus: int, pods: int, apart: bool) -> dict[str, Any]:
    """Let two users ask for sandboxes with a GPU each, the first for three times as many and before the second.

    Returns: what share of the places that were given while the second waited were the second's, and how long each user waited.
    """
    from kubernetes.client import CustomObjectsApi

    objects = CustomObjectsApi(core.api_client)
    made = queues(name, gpus, apart)
    for plural, body in made:
        if plural == "localqueues":
            objects.create_namespaced_custom_object(*_API, namespace, plural, body)
        else:
            objects.create_cluster_custom_object(*_API, plural, body)
    try:
        return _asked(core, namespace, pods)
    finally:
        core.delete_collection_namespaced_pod(namespace, grace_period_seconds=0)
        for plural, body in reversed(made):
            called = body["metadata"]["name"]
            if plural == "localqueues":
                objects.delete_namespaced_custom_object(*_API, namespace, plural, called)
            else:
                objects.delete_cluster_custom_object(*_API, plural, called)


def _asked(core: Any, namespace: str, pods: int) -> dict[str, Any]:
    wanted = [(FIRST, number) for number in range(_MORE * pods)] + [(SECOND, number) for number in range(pods)]
    runs, stop = dict[str, float](), threading.Event()
    looker = threading.Thread(target=_look, args=(core, namespace, runs, stop), daemon=True)
    looker.start()
    made: dict[str, float] = {}
    with ThreadPoolExecutor(8) as pool:
        for name, moment in pool.map(lambda one: _make(core, namespace, *one), wanted):
            made[name] = moment
    while len(runs) < len(wanted):
        time.sleep(1.0)
        print(f"  {len(runs)} of {len(wanted)} sandboxes have had their place", file=sys.stderr, flush=True)
    stop.set()
    of = {user: {pod: moment for pod, moment in made.items() if f"-{user}-" in pod} for user in (FIRST, SECOND)}
    begun, ended = min(of[SECOND].values()), max(runs[pod] for pod in of[SECOND])
    placed = {user: sum(begun <= runs[pod] <= ended for pod in of[user]) for user in of}
    waited = {user: statistics.median(runs[pod] - moment for pod, moment in of[user].items()) for user in of}
    return {"share_of_second": placed[SECOND] / sum(placed.values()), "placed": placed, "median_wait_s": waited}


def _make(core: Any, namespace: str, user: str, number: int) -> tuple[str, float]:
    """Ask for a sandbox's pod as the backend does; return its name and when that was."""
    from harness.sandbox.base import SandboxSpec
    from harness.sandbox.kubernetes import cluster, pod
    from harness.sandbox.kubernetes.settings import Settings
    from harness.spec.task import Limits

    settings = Settings.from_environment().model_copy(update={"queue": user, "namespace": namespace})
    spec = SandboxSpec(f"r-{user}-{number}-1-task", Limits(cpus=1, memory_mb=1024, disk_mb=64, gpus=1))
    body = pod.pod(spec, settings, "dojo/task:cuda", "no-secret")
    body["metadata"]["name"] = f"sandbox-{user}-{number}"
    moment = time.monotonic()
    cluster.ask("making a sandbox's pod", core.create_namespaced_pod, namespace, body)
    return body["metadata"]["name"], moment


def _look(core: Any, namespace: str, runs: dict[str, float], stop: threading.Event) -> None:
    """Note when each pod is first seen to run."""
    from harness.sandbox.kubernetes import cluster

    while not stop.wait(0.2):
        found = cluster.plainly("looking", core.list_namespaced_pod, namespace, resource_version="0")
        for each in found["items"]:
            if (each.get("status") or {}).get("phase") in ("Running", "Succeeded"):
                runs.setdefault(each["metadata"]["name"], time.monotonic())
