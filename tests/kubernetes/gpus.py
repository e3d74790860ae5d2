"""What tests of GPUs need of a cluster: one that offers some (pretended ones will do), quotas of one, and looks at who has it."""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from harness.sandbox.kubernetes import cluster
from harness.sandbox.kubernetes.queues import VERSIONS
from harness.sandbox.kubernetes.sharing import GPU
from harness.spec.errors import DojoError

_GROUP = "kueue.x-k8s.io"


def require_gpu(count: int = 1) -> None:
    """Skip where no node offers so many GPUs."""
    nodes = cluster.core().list_node().items
    if not any(int((node.status.allocatable or {}).get(GPU, 0)) >= count for node in nodes):
        pytest.skip(
            f"no node of the cluster offers {count} of nvidia.com/gpu: the tests' own pretends them with `up --gpus {count}`"
        )


class Kueue:
    """Kueue's objects, made by a test and removed with it."""

    def __init__(self) -> None:
        from kubernetes.client import CustomObjectsApi

        self._api: Any = CustomObjectsApi(cluster.core().api_client)
        for version in VERSIONS:
            with contextlib.suppress(DojoError):
                cluster.ask("looking for Kueue", self._api.list_cluster_custom_object, _GROUP, version, "clusterqueues")
                self.version = version
                return
        pytest.skip("the cluster has no Kueue: the tests' own has with `up --kueue`")

    @contextlib.contextmanager
    def made(self, bodies: list[dict[str, Any]]) -> Iterator[None]:
        """Have objects for the length of a test; what is there under such a name is an error."""
        with contextlib.ExitStack() as stack:
            for body in bodies:
                plural, namespace = f"{body['kind'].lower()}s", body["metadata"].get("namespace")
                place = (_GROUP, self.version, *([namespace] if namespace else []), plural)
                scope = "namespaced" if namespace else "cluster"
                cluster.ask(f"making {plural}", getattr(self._api, f"create_{scope}_custom_object"), *place, body)
                remove = getattr(self._api, f"delete_{scope}_custom_object")
                stack.callback(remove, *place, body["metadata"]["name"])
            yield

    def queue(self, name: str, gpus: int) -> list[dict[str, Any]]:
        """Return a queue with so many GPUs and more of all else than a test takes."""
        amounts = {"cpu": "64", "memory": "256Gi", GPU: str(gpus)}
        resources = [{"name": resource, "nominalQuota": amount} for resource, amount in amounts.items()]
        group = {"coveredResources": [*amounts], "flavors": [{"name": name, "resources": resources}]}
        head = {"apiVersion": f"{_GROUP}/{self.version}"}
        namespace = os.environ.get("DOJO_K8S_NAMESPACE", "dojo-sandboxes")
        return [
            {**head, "kind": "ResourceFlavor", "metadata": {"name": name}},
            {
                **head,
                "kind": "ClusterQueue",
                "metadata": {"name": name},
                "spec": {"namespaceSelector": {}, "resourceGroups": [group]},
            },
            {
                **head,
                "kind": "LocalQueue",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"clusterQueue": name},
            },
        ]

    def used(self, name: str) -> int:
        """Return how many GPUs of a queue are taken, as Kueue counts."""
        found = self._api.get_cluster_custom_object(_GROUP, self.version, "clusterqueues", name)
        flavors = (found.get("status") or {}).get("flavorsUsage") or ()
        return sum(int(each["total"]) for flavor in flavors for each in flavor["resources"] if each["name"] == GPU)


class Looks:
    """Looks again and again, while a test goes on, at what a queue's GPUs are taken by and at the sandboxes of the namespace."""

    def __init__(self, kueue: Kueue, queue: str) -> None:
        self._kueue, self._queue = kueue, queue
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.used: list[int] = []
        self.pods: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> "Looks":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        core = cluster.core()
        while not self._over.wait(0.3):
            self.used.append(self._kueue.used(self._queue))
            listed = core.list_namespaced_pod("dojo-sandboxes", label_selector="org.dojo.gpu-owner")
            for pod in core.api_client.sanitize_for_serialization(listed.items):
                self.pods[pod["metadata"]["annotations"]["org.dojo.id"]] = pod
