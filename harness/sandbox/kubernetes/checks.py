"""What the backend `kubernetes` needs, and what it finds in the cluster: quick, as every `submit` asks it; `probe` tries more."""

from __future__ import annotations

from typing import Any

from harness.sandbox.base import Check
from harness.sandbox.kubernetes import cluster
from harness.sandbox.kubernetes.settings import Settings
from harness.spec.errors import DojoError, NotFoundError

_OLDEST = (1, 29)
APPLY = "kubectl apply -k k8s/base, as somebody who may"
_SOON_S = 10.0
# verb and resource, all in the namespace of sandboxes
_RIGHTS = (
    ("create", "pods"), ("get", "pods"), ("list", "pods"), ("delete", "pods"), ("create", "secrets"), ("get", "secrets"),
    ("list", "secrets"), ("delete", "secrets"), ("create", "configmaps"),
)  # fmt: skip


def checks() -> list[Check]:
    """Look at the cluster; where none answers that is the only line."""
    try:
        settings = Settings.from_environment()
        core = cluster.core()
        found = [_version(core)]
    except DojoError as exc:
        return [Check("cluster", False, exc.message, exc.hint)]
    for look in (_namespace, _rights, _policy):
        try:
            found.append(look(core, settings))
        except DojoError as exc:
            found.append(Check(look.__name__.strip("_"), False, exc.message, exc.hint))
    return [*found, _limits(settings)]


def _version(core: Any) -> Check:
    from kubernetes.client import VersionApi

    version = cluster.ask("asking the cluster", VersionApi(core.api_client).get_code, patience_s=_SOON_S)
    numbers = (int(version.major), int(version.minor.rstrip("+")))
    return Check("cluster", numbers >= _OLDEST, f"Kubernetes {version.git_version}", "bring it to 1.29 or newer")


def _namespace(core: Any, settings: Settings) -> Check:
    """The namespace and its level of Pod Security, where we may look at it."""
    try:
        found = cluster.ask("looking at the namespace", core.read_namespace, settings.namespace, patience_s=_SOON_S)
    except NotFoundError:
        return Check("namespace", False, f"there is no namespace {settings.namespace}", APPLY)
    except DojoError:
        return Check("namespace", True, f"{settings.namespace} (we may not look at it)")
    level = (found.metadata.labels or {}).get("pod-security.kubernetes.io/enforce", "none")
    detail = f"{settings.namespace}, Pod Security {level}"
    return Check("namespace", level != "restricted", detail, "sandboxes' first process is root: level baseline")


def _rights(core: Any, settings: Settings) -> Check:
    from kubernetes.client import AuthorizationV1Api

    reviews = AuthorizationV1Api(core.api_client)
    missing = []
    for verb, resource in _RIGHTS:
        asked = {"namespace": settings.namespace, "verb": verb, "resource": resource}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": asked}}
        review: Any = cluster.ask("asking for our rights", reviews.create_self_subject_access_review, body, patience_s=_SOON_S)
        if not review.status.allowed:
            missing.append(f"{verb} {resource}")
    detail = (
        f"we may not {', '.join(missing)} in {settings.namespace}" if missing else f"all that is needed in {settings.namespace}"
    )
    return Check("rights", not missing, detail, APPLY)


def _policy(core: Any, settings: Settings) -> Check:
    """A policy that lets nothing out of any pod of the namespace; each pod looks by itself whether it is kept."""
    from kubernetes.client import NetworkingV1Api

    listed = NetworkingV1Api(core.api_client).list_namespaced_network_policy
    try:
        listing = cluster.ask("looking at network policies", listed, settings.namespace, patience_s=_SOON_S)
    except NotFoundError:
        listing = None
    found: list[dict[str, Any]] = core.api_client.sanitize_for_serialization(listing.items) if listing else []
    shut = [policy["metadata"]["name"] for policy in found if closes(policy)]
    opening = [policy["metadata"]["name"] for policy in found if policy["spec"].get("egress")]
    if opening:
        return Check("policy", False, f"{', '.join(opening)} lets something out of {settings.namespace}", "remove it")
    detail = (
        f"{shut[0]} closes every pod of {settings.namespace}" if shut else f"no policy closes the pods of {settings.namespace}"
    )
    return Check("policy", bool(shut), detail, APPLY)


def closes(policy: dict[str, Any]) -> bool:
    """Whether a policy is for all pods and both directions, and lets nothing out."""
    spec = policy["spec"]
    everybody = not any((spec.get("podSelector") or {}).values())
    return everybody and {"Ingress", "Egress"} <= set(spec.get("policyTypes") or ()) and not spec.get("egress")


def _limits(settings: Settings) -> Check:
    disk = {
        "memory": "a tmpfs with a hard limit, which counts as memory",
        "node": "the node's disk, where the kubelet ends a pod that writes more than it may",
    }[settings.disk]
    detail = f"the container's own, which hold for commands and dojo's server inside together; disk: {disk}"
    return Check("limits", True, detail)
