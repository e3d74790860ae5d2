"""Why runs wait: what Kueue, the scheduler and the nodes say of their Jobs and pods, read for a whole batch at a time."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from harness.executor.kubernetes.ends import finished
from harness.executor.kubernetes.job import BATCH_LABEL, RUN_LABEL
from harness.executor.kubernetes.settings import RunnerSettings
from harness.sandbox.kubernetes import cluster
from harness.sandbox.kubernetes.deaths import cannot_start, waiting_for_a_place
from harness.sandbox.kubernetes.pod import ID_ANNOTATION, QUEUE_LABEL
from harness.sandbox.kubernetes.queues import VERSIONS
from harness.sandbox.kubernetes.settings import Settings
from harness.sandbox.kubernetes.turns import run_of
from harness.spec.errors import DojoError, NotFoundError

_FRESH_S = 2.0
_SOON_S = 5.0
_SANDBOXES = "app.kubernetes.io/name=dojo-sandbox"


@dataclass(frozen=True)
class Seen:
    """What the cluster holds of a batch, as the API gives it.

    Attributes:
        jobs: run → its newest Job.
        runners: run → its runners' pods.
        sandboxes: run → its sandboxes' pods that are not over.
        workloads: uid of what Kueue admits → its Workload.
        events: name of a Job → the newest warning about it.
    """

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    runners: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    sandboxes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    workloads: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: dict[str, str] = field(default_factory=dict)


def why(seen: Seen, run: str) -> str:
    """Say why a run does not go on, in the cluster's words; "" where nothing keeps it."""
    for pod in seen.sandboxes.get(run, ()):
        if words := _keeps(pod, seen):
            return f"{pod['metadata']['annotations'][ID_ANNOTATION].rpartition('-')[2]} sandbox: {words}"
    job = seen.jobs.get(run)
    if job is None or finished(job):
        return ""
    pods = [pod for pod in seen.runners.get(run, ()) if (pod.get("status") or {}).get("phase") not in ("Failed", "Succeeded")]
    for pod in pods:
        if words := _keeps(pod, seen):
            return f"its runner: {words}"
    if pods:
        return ""
    name = job["metadata"]["name"]
    if (job.get("spec") or {}).get("suspend"):
        return f"the Job {name} is suspended: {_kueue(job, seen) or 'by somebody'}"
    return f"the Job {name} has no pod: {seen.events.get(name, 'the cluster has not made one yet')}"


def _keeps(pod: dict[str, Any], seen: Seen) -> str:
    if waits := waiting_for_a_place(pod):
        return _kueue(pod, seen) or waits
    return cannot_start(pod)


def _kueue(owner: dict[str, Any], seen: Seen) -> str:
    """Return what Kueue says of something it has not admitted."""
    metadata = owner["metadata"]
    queue = (metadata.get("labels") or {}).get(QUEUE_LABEL, "")
    workload = seen.workloads.get(metadata.get("uid", ""))
    if workload is None:
        gates = (owner.get("spec") or {}).get("schedulingGates")
        return f"waits for Kueue, in the queue {queue}" if queue and gates else ""
    for condition in (workload.get("status") or {}).get("conditions") or ():
        if condition["type"] in ("QuotaReserved", "Admitted") and condition["status"] == "False":
            return f"Kueue, queue {queue}: {condition.get('message') or condition.get('reason')}"
    admitted = any(c["type"] == "Admitted" for c in (workload.get("status") or {}).get("conditions") or ())
    return "" if admitted else f"waits for Kueue, in the queue {queue}"


class Waiting:
    """Looks at the cluster for a batch at most once in a moment, however many of its runs are asked for.

    Args:
        runners: settings of Jobs.
        sandboxes: settings of the pods they make.
    """

    def __init__(self, runners: RunnerSettings, sandboxes: Settings) -> None:
        self._runners, self._sandboxes = runners, sandboxes
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Seen | DojoError]] = {}

    def said_of(self, batch: str, run: str) -> str:
        """Say why a run waits; see `why`.

        Raises:
            DojoError: the cluster does not answer, or not to us.
        """
        with self._lock:
            until, found = self._kept.get(batch, (-math.inf, None))
            if found is None or time.monotonic() > until:
                try:
                    found = self._look(batch)
                except DojoError as exc:
                    found = exc  # each of the batch's runs would wait for it anew
                self._kept[batch] = (time.monotonic() + _FRESH_S, found)
        if isinstance(found, DojoError):
            raise found
        return why(found, run)

    def give_up_places(self, run: str) -> None:
        """Remove the sandboxes of a run that wait for a place; who waits with them sees it at once."""
        core = cluster.core()
        for pod in self._pods(self._sandboxes.namespace, _SANDBOXES):
            if run_of(pod) == run and waiting_for_a_place(pod):
                name = pod["metadata"]["name"]
                try:
                    cluster.ask(f"removing the pod {name}", core.delete_namespaced_pod, name, self._sandboxes.namespace)
                except NotFoundError:
                    continue

    def _look(self, batch: str) -> Seen:
        from harness.executor.kubernetes.jobs import Jobs

        newest = Jobs(self._runners).of_batch(batch, _SOON_S)
        runners: dict[str, list[dict[str, Any]]] = {}
        for pod in self._pods(self._runners.namespace, f"{BATCH_LABEL}={batch}"):
            runners.setdefault(pod["metadata"]["labels"][RUN_LABEL], []).append(pod)
        sandboxes: dict[str, list[dict[str, Any]]] = {}
        for pod in self._pods(self._sandboxes.namespace, _SANDBOXES):
            if (pod.get("status") or {}).get("phase") == "Pending":
                sandboxes.setdefault(run_of(pod), []).append(pod)
        return Seen(newest, runners, sandboxes, self._workloads(), self._events(newest))

    def _pods(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        call = cluster.core().list_namespaced_pod
        listed = cluster.plainly(
            "listing pods", call, namespace, label_selector=selector, resource_version="0", patience_s=_SOON_S
        )
        found: list[dict[str, Any]] = listed["items"]
        return found

    def _workloads(self) -> dict[str, dict[str, Any]]:
        """Return Kueue's Workloads by what they stand for; none where there is no Kueue, or we may not look."""
        from kubernetes.client import CustomObjectsApi

        if not self._sandboxes.queue:
            return {}
        ask = CustomObjectsApi(cluster.core().api_client).list_namespaced_custom_object
        items: list[dict[str, Any]] = []
        for version in VERSIONS:
            try:
                found: Any = cluster.ask(
                    "listing Workloads",
                    ask,
                    "kueue.x-k8s.io",
                    version,
                    self._sandboxes.namespace,
                    "workloads",
                    patience_s=_SOON_S,
                )
            except DojoError:
                continue
            items = found["items"]
            break
        owned = ((owner["uid"], one) for one in items for owner in one["metadata"].get("ownerReferences") or ())
        return dict(owned)

    def _events(self, jobs: dict[str, dict[str, Any]]) -> dict[str, str]:
        """Return the newest warning about each Job that has no pod."""
        bare = {
            job["metadata"]["name"] for job in jobs.values() if not finished(job) and not (job.get("status") or {}).get("active")
        }
        if not bare:
            return {}
        core = cluster.core()
        try:
            listed: Any = cluster.ask(
                "listing events", core.list_namespaced_event, self._runners.namespace,
                field_selector="involvedObject.kind=Job,type=Warning", patience_s=_SOON_S,
            )  # fmt: skip
        except DojoError:
            return {}
        return {event.involved_object.name: event.message for event in listed.items if event.involved_object.name in bare}
