"""Why sandboxes wait that are asked for, in the cluster's own words, for whoever asks while they do: `dojo status`."""

from __future__ import annotations

from typing import Any

from harness.sandbox.kubernetes import cluster, deaths, pod
from harness.sandbox.kubernetes.settings import Settings
from harness.spec.errors import SandboxError

_SOON_S = 5.0


def all_that_wait(settings: Settings) -> dict[str, str]:
    """Return id → why, of all sandboxes in the namespace, whoever asked for them.

    Raises:
        SandboxError, SandboxUnavailable: the cluster refuses, or does not answer.
    """
    core = cluster.core()
    secrets = _listed("secrets", core.list_namespaced_secret, settings)  # first, as they are made first
    pods = {found["metadata"]["name"]: found for found in _listed("pods", core.list_namespaced_pod, settings)}
    waits: dict[str, str] = {}
    for found in pods.values():
        if why := why_a_pod_waits(found):
            waits[_id(found)] = why
    unmade = [secret for secret in secrets if secret["metadata"]["name"] not in pods]
    if unmade and (full := what_is_used(_quotas(core, settings))):
        waits |= {_id(secret): f"no pod is made for it: {full}" for secret in unmade}
    return waits


def why_a_pod_waits(found: dict[str, Any]) -> str:
    """Return why a pod does not run yet; nothing if it does, or has ended."""
    status = found.get("status") or {}
    if status.get("phase", "Pending") != "Pending":
        return ""
    node = (found.get("spec") or {}).get("nodeName", "")
    if not node:
        return deaths.waiting_for_a_place(found)
    if why := deaths.cannot_start(found):
        return why
    reasons = [(c.get("state") or {}).get("waiting") or {} for c in reversed(deaths.containers(status))]
    said = next((": ".join(filter(None, (w.get("reason"), w.get("message")))) for w in reasons if w.get("reason")), "")
    return f"its pod starts on {node}{': ' if said else ''}{said}"


def what_is_used(quotas: list[dict[str, Any]]) -> str:
    """Return what is used of each quota, as the API counts it; nothing where there are none."""
    full = []
    for quota in quotas:
        status = quota.get("status") or {}
        used = status.get("used") or {}
        spent = [f"{name} {used[name]} of {hard}" for name, hard in (status.get("hard") or {}).items() if name in used]
        full += [f"quota {quota['metadata']['name']} has {', '.join(spent)} used"] if spent else []
    return "; ".join(full)


def _quotas(core: Any, settings: Settings) -> list[dict[str, Any]]:
    try:
        found = cluster.ask("looking at quotas", core.list_namespaced_resource_quota, settings.namespace, patience_s=_SOON_S)
    except SandboxError as exc:
        if exc.code != "refused":
            raise
        return []  # we may not look at them
    return list(core.api_client.sanitize_for_serialization(found.items))


def _listed(what: str, call: Any, settings: Settings) -> list[dict[str, Any]]:
    pages = cluster.pages(what, call, settings.namespace, pod.ID_LABEL, _SOON_S)  # whoever made them
    return [item for page in pages for item in page["items"]]


def _id(found: dict[str, Any]) -> str:
    return str((found["metadata"].get("annotations") or {}).get(pod.ID_ANNOTATION, found["metadata"]["name"]))
