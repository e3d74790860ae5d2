"""The kinds of objects that dojo puts in a cluster, in the order in which they are made, and what is asked of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from harness.cluster.kustomize import Object, identity
from harness.sandbox.kubernetes import cluster
from harness.spec.errors import MissingError, NotFoundError, SpecError

MANAGER = "dojo"
LABEL = "org.dojo.installed"
"""What `install` puts on every object, and `uninstall` goes by."""

Did = Literal["created", "changed", "unchanged"]
_SOON_S = 30.0
_APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Kind:
    """How one kind is asked for.

    Attributes:
        api: class of the client, such as ``CoreV1Api``; "" for a kind that the client does not know.
        name: what its methods call it, such as ``namespaced_service``; else the plural.
        data: whether it holds, or holds on to, what must outlive an installation.
        namespaced: whether it lives in a namespace.
    """

    api: str
    name: str
    data: bool = False
    namespaced: bool = True


# made in this order and removed in the reverse one
KINDS: dict[str, Kind] = {
    "Namespace": Kind("CoreV1Api", "namespace", data=True, namespaced=False),
    "PriorityClass": Kind("SchedulingV1Api", "priority_class", namespaced=False),
    "ServiceAccount": Kind("CoreV1Api", "service_account"),
    "Role": Kind("RbacAuthorizationV1Api", "role"),
    "RoleBinding": Kind("RbacAuthorizationV1Api", "role_binding"),
    "NetworkPolicy": Kind("NetworkingV1Api", "network_policy"),
    "PersistentVolume": Kind("CoreV1Api", "persistent_volume", data=True, namespaced=False),
    "PersistentVolumeClaim": Kind("CoreV1Api", "persistent_volume_claim", data=True),
    "ConfigMap": Kind("CoreV1Api", "config_map"),
    "Service": Kind("CoreV1Api", "service"),
    "Secret": Kind("CoreV1Api", "secret", data=True),
    "ResourceFlavor": Kind("", "resourceflavors", namespaced=False),
    "ClusterQueue": Kind("", "clusterqueues", namespaced=False),
    "LocalQueue": Kind("", "localqueues"),
    "PodDisruptionBudget": Kind("PolicyV1Api", "pod_disruption_budget"),
    "StatefulSet": Kind("AppsV1Api", "stateful_set"),
    "Deployment": Kind("AppsV1Api", "deployment"),
}
_KUEUE = ("kueue.x-k8s.io", "v1beta2")


def ordered(objects: list[Object]) -> list[Object]:
    """Return objects in the order in which they are made.

    Raises:
        SpecError: one is of a kind that is not known here.
    """
    for body in objects:
        if body["kind"] not in KINDS:
            raise SpecError(f"objects of the kind {body['kind']} are not known here", hint=f"known: {', '.join(KINDS)}")
    place = list(KINDS).index
    return sorted(objects, key=lambda body: (place(body["kind"]), identity(body)))


def read(kind: str, namespace: str, name: str) -> Object | None:
    """Return an object as the API gives it; None where it is not there.

    Raises:
        SandboxError, SandboxUnavailable: the cluster refuses, or does not answer.
    """
    try:
        found: Object = _call("read", kind, namespace, name)
    except NotFoundError:
        return None
    return found


def apply(body: Object, dry: bool = False) -> Did:
    """Make an object, or bring it to what ``body`` says, by server-side apply; say what that did.

    Args:
        body: the object.
        dry: let the cluster check it and keep nothing.

    Raises:
        MissingError: the cluster does not have its kind (Kueue is not there).
        SandboxError, SandboxUnavailable: the cluster refuses, or does not answer.
    """
    kind, namespace, name = identity(body)
    before = read(kind, namespace, name)
    more = {"dry_run": "All"} if dry else {}
    try:
        after: Object = _call(
            "patch", kind, namespace, name, body, field_manager=MANAGER, force=True, _content_type=_APPLY, **more
        )
    except NotFoundError as exc:
        if KINDS[kind].api:
            raise
        text = f"the cluster has no {kind}: Kueue is not installed, or not in a version that serves {_KUEUE[1]}"
        raise MissingError(text, hint="install Kueue (0.15 or newer), or take an overlay without it") from exc
    if before is None:
        return "created"
    return "changed" if _said(before) != _said(after) else "unchanged"


def remove(kind: str, namespace: str, name: str) -> None:
    """Ask for an object to go; one that is not there is fine. Raises as `read`."""
    try:
        _call("delete", kind, namespace, name)
    except NotFoundError:
        return


def served(kind: str) -> bool:
    """Whether the cluster has a kind; raises as `read`."""
    try:
        _call("list", kind, limit=1)
    except NotFoundError:
        return False
    return True


def installed(kind: str) -> list[Object]:
    """Return the objects of a kind that `install` made, in all namespaces; raises as `read`."""
    try:
        found: Object = _call("list", kind, label_selector=f"{LABEL}=cluster")
    except NotFoundError:  # a kind that the cluster does not have
        return []
    return [{"kind": kind, **item} for item in found.get("items") or ()]


def _call(verb: str, kind: str, namespace: str = "", *arguments: Any, **keywords: Any) -> Any:
    from kubernetes import client

    known, core = KINDS[kind], cluster.core()
    place = (namespace,) if known.namespaced and verb != "list" else ()
    what = f"{verb} {kind} {'/'.join(filter(None, (namespace, *map(str, arguments[:1]))))}".strip()
    if known.api:
        scope = "namespaced_" if known.namespaced and verb != "list" else ""
        end = "_for_all_namespaces" if known.namespaced and verb == "list" else ""
        call = getattr(getattr(client, known.api)(core.api_client), f"{verb}_{scope}{known.name}{end}")
        # these take the name first
        ordered = (*arguments[:1], *place, *arguments[1:])
    else:
        scope = "namespaced" if place else "cluster"
        verb = "get" if verb == "read" else verb
        call = getattr(client.CustomObjectsApi(core.api_client), f"{verb}_{scope}_custom_object")
        ordered = (*_KUEUE, *place, known.name, *arguments)
    return core.api_client.sanitize_for_serialization(cluster.ask(what, call, *ordered, patience_s=_SOON_S, **keywords))


def _said(body: Object) -> Object:
    """Return what an object says, without what the cluster keeps about it."""
    metadata = {key: body["metadata"].get(key) for key in ("labels", "annotations")}
    return {**{key: value for key, value in body.items() if key not in ("metadata", "status")}, "metadata": metadata}
