"""The Jobs of runs in the cluster: making, listing and removing them, and room that no node has."""

from __future__ import annotations

import contextlib
import math
from typing import Any

from harness.executor.kubernetes.job import BATCH_LABEL, RUN_LABEL, job_name, number_of
from harness.executor.kubernetes.settings import RunnerSettings
from harness.sandbox.kubernetes import cluster
from harness.sandbox.kubernetes.pod import RESERVE_MB
from harness.sandbox.kubernetes.settings import Settings
from harness.sandbox.kubernetes.sharing import GPU
from harness.spec.errors import MissingError, NotFoundError, SandboxError
from harness.spec.task import Limits

_SOON_S = 20.0
# its agent's, and one that scores on dev
_AT_ONCE = 2


class Jobs:
    """What the executor asks of the cluster.

    Raises (every method):
        SandboxError: the cluster refuses (code ``refused``).
        SandboxUnavailable: it does not answer for minutes.
    """

    def __init__(self, runners: RunnerSettings) -> None:
        from kubernetes.client import BatchV1Api, CustomObjectsApi

        self.runners, self.core = runners, cluster.core()
        self.api = BatchV1Api(self.core.api_client)
        self._objects = CustomObjectsApi(self.core.api_client)

    def listed(self, selector: str, patience_s: float = cluster.PATIENCE_S) -> tuple[list[dict[str, Any]], str]:
        """Return the Jobs of a label selector and the version of that listing."""
        found, version = list[dict[str, Any]](), ""
        for page in cluster.pages("Jobs", self.api.list_namespaced_job, self.runners.namespace, selector, patience_s):
            found += page["items"]
            version = page["metadata"]["resourceVersion"]
        return found, version

    def of_batch(self, batch: str, patience_s: float = cluster.PATIENCE_S) -> dict[str, dict[str, Any]]:
        """Return run → its newest Job."""
        newest: dict[str, dict[str, Any]] = {}
        found, _ = self.listed(f"{BATCH_LABEL}={batch}", patience_s)
        for job in sorted(found, key=lambda job: number_of(job["metadata"]["name"])):
            newest[job["metadata"]["labels"][RUN_LABEL]] = job
        return newest

    def of_run(self, run: str) -> list[dict[str, Any]]:
        """Return a run's Jobs."""
        return self.listed(f"{RUN_LABEL}={run}")[0]

    def pods_of(self, job: str) -> list[dict[str, Any]]:
        """Return the pods of a Job."""
        found = cluster.plainly(
            f"looking at the pods of {job}",
            self.core.list_namespaced_pod,
            self.runners.namespace,
            label_selector=f"batch.kubernetes.io/job-name={job}",
        )
        pods: list[dict[str, Any]] = found["items"]
        return pods

    def make(self, body: dict[str, Any]) -> None:
        """Make a Job; one that is there already is the same, made by somebody else who submits this run."""
        what = f"making the Job {body['metadata']['name']}"
        # as an object of any kind: a Job of the client's models is checked here first, which takes longer than the API does
        make = self._objects.create_namespaced_custom_object
        try:
            cluster.ask(what, make, "batch", "v1", self.runners.namespace, "jobs", body)
        except SandboxError as exc:
            if exc.code != "exists":
                raise

    def remove(self, job: str, patience_s: float = cluster.PATIENCE_S) -> None:
        """Ask a Job to go once its runner has: that is told to leave its run resumable."""
        with contextlib.suppress(NotFoundError):
            cluster.ask(
                f"removing the Job {job}", self.api.delete_namespaced_job, job, self.runners.namespace,
                propagation_policy="Foreground", patience_s=patience_s,
            )  # fmt: skip

    def next_name(self, run: str) -> tuple[str, int]:
        """Return the name and number of the Job that would be the run's next."""
        number = max((number_of(job["metadata"]["name"]) for job in self.of_run(run)), default=0) + 1
        return job_name(run, number), number

    def check(self, limits: Limits, sandboxes: Settings) -> None:
        """Refuse limits that the cluster could not satisfy if it were empty; where nodes may not be looked at nothing is known.

        Raises:
            MissingError: names what is asked for and what there is: no node is large enough, or there is no place for the second
                sandbox that a run has while it holds the first.
        """
        try:
            found = cluster.plainly("looking at the nodes", self.core.list_node, patience_s=_SOON_S)
        except SandboxError as exc:
            if exc.code == "refused":
                return
            raise
        nodes = [node["status"].get("allocatable") or {} for node in found["items"]]
        disk = limits.disk_mb if sandboxes.disk == "memory" else 0
        asked = (
            (limits.cpus * sandboxes.cpu_share, "cpu", 1.0, f"{limits.cpus:g} CPUs"),
            (float(limits.gpus), GPU, 1.0, f"{limits.gpus} GPUs"),
            (
                float(limits.memory_mb + disk + RESERVE_MB),
                "memory",
                2.0**20,
                f"{limits.memory_mb} MB of memory and {disk} of disk",
            ),
        )
        for wanted, resource, unit, text in asked:
            most = max((quantity(node.get(resource, "0")) / unit for node in nodes), default=0.0)
            if wanted > most:
                raise MissingError(
                    f"a run asks for {text}; the largest node of the cluster has {most:.6g} of {resource}",
                    hint="use a larger node or another profile of the task",
                )
        shared = sandboxes.dev_grader == "shared" and bool(limits.gpus)
        rooms = []
        for node in nodes:
            fit = {resource: quantity(node.get(resource, "0")) / unit // wanted for wanted, resource, unit, _ in asked if wanted}
            if shared and fit[GPU]:
                fit[GPU] = math.inf  # who shares asks for none
            rooms.append(int(min(fit.values())))
        fits = max(rooms, default=0) if shared else sum(rooms)
        if fits < _AT_ONCE:
            texts = ", ".join(text for wanted, _, _, text in asked if wanted)
            if shared:
                raise MissingError(
                    f"a run has {_AT_ONCE} sandboxes at a time, which share their GPUs on one node (DOJO_K8S_DEV_GRADER=shared), "
                    f"each with {texts}; no node of the cluster has room for both",
                    hint="use larger nodes or another profile, let pods ask for less (DOJO_K8S_CPU_SHARE, DOJO_K8S_DISK=node), "
                    "or DOJO_K8S_DEV_GRADER=own, where the second may be on another node with GPUs of its own",
                )
            raise MissingError(
                f"a run has {_AT_ONCE} sandboxes at a time, each with {texts}; the cluster has room for {fits}",
                hint="add a node, use another profile, or let pods ask for less (DOJO_K8S_CPU_SHARE, DOJO_K8S_DISK=node"
                + (", for GPUs DOJO_K8S_DEV_GRADER=shared)" if limits.gpus else ")"),
            )


def quantity(text: str) -> float:
    """Return a quantity of Kubernetes (``"16Gi"``, ``"1900m"``) as a number."""
    from kubernetes.utils import parse_quantity

    return float(parse_quantity(text))  # type: ignore[no-untyped-call]
