"""A cluster in memory: what `harness.cluster.objects` asks of the API, answered as the API does."""

import copy
import itertools
from typing import Any

import pytest

from harness.cluster import objects
from harness.spec.errors import NotFoundError


class FakeCluster:
    """Objects by kind, namespace and name; whatever is applied is ready at once."""

    def __init__(self, kueue: bool = True) -> None:
        self.held: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.kueue = kueue
        self._versions = itertools.count(1)

    def call(self, verb: str, kind: str, namespace: str = "", *arguments: Any, **how: Any) -> Any:
        """Stand in for `objects._call`."""
        if not objects.KINDS[kind].api and not self.kueue:
            raise NotFoundError("the server could not find the requested resource")
        if verb == "list":
            marked = [b for (k, _, _), b in self.held.items() if k == kind and objects.LABEL in b["metadata"].get("labels", {})]
            return {"items": copy.deepcopy(marked)}
        key = (kind, namespace, arguments[0])
        if verb == "patch":
            return self._patch(key, copy.deepcopy(arguments[1]), "dry_run" in how)
        if key not in self.held:
            raise NotFoundError(f"{kind} {arguments[0]} is not there")
        return self.held.pop(key) if verb == "delete" else copy.deepcopy(self.held[key])

    def _patch(self, key: tuple[str, str, str], body: dict[str, Any], dry: bool) -> dict[str, Any]:
        before = self.held.get(key)
        known = {"resourceVersion", "generation"}
        if before is not None:
            old = {**before, "metadata": {k: v for k, v in before["metadata"].items() if k not in known}}
            old.pop("status", None)
            if old == body:
                return copy.deepcopy(before)
        version = next(self._versions)
        body["metadata"] |= {"resourceVersion": str(version), "generation": version}
        if key[0] in ("Deployment", "StatefulSet"):
            ready = body["spec"].get("replicas", 1)
            body["status"] = {"observedGeneration": version, "replicas": ready, "updatedReplicas": ready, "readyReplicas": ready}
        if key[0] == "Service":
            body["spec"].setdefault("clusterIP", "10.96.0.7")
        if not dry:
            self.held[key] = body
        return copy.deepcopy(body)


def use(monkeypatch: pytest.MonkeyPatch, kueue: bool = True) -> FakeCluster:
    """Let `harness.cluster` talk to a cluster in memory."""
    fake = FakeCluster(kueue)
    monkeypatch.setattr(objects, "_call", fake.call)
    return fake
