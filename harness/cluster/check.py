"""`dojo cluster check`: each thing that an installation needs, ok or what to do."""

from __future__ import annotations

from harness.cluster import objects
from harness.cluster.kustomize import Object, identity
from harness.cluster.pod_probe import try_a_pod
from harness.cluster.ready import pods_say, unready
from harness.executor.kubernetes.settings import RunnerSettings
from harness.sandbox.base import Check
from harness.sandbox.kubernetes import checks as sandboxes
from harness.spec.errors import DojoError

_AGAIN = "dojo cluster install, as somebody who may"
_NEEDED = ("PersistentVolumeClaim", "StatefulSet", "Deployment")


def check() -> list[Check]:
    """Look at an installation and try from inside what runners need; where no cluster answers that is the only line."""
    found = sandboxes.checks()
    if not found[0].ok:
        return found
    try:
        settings = RunnerSettings.from_environment()
        return [*found, *_installed(settings)]
    except DojoError as exc:
        return [*found, Check("installation", False, exc.message, exc.hint)]


def _installed(settings: RunnerSettings) -> list[Check]:
    home = objects.read("Namespace", "", settings.namespace)
    if home is None:
        return [Check("installation", False, f"there is no namespace {settings.namespace}", _AGAIN)]
    level = (home["metadata"].get("labels") or {}).get("pod-security.kubernetes.io/enforce", "none")
    found = [Check(f"namespace {settings.namespace}", level == "restricted", f"Pod Security {level}", _AGAIN)]
    secret = objects.read("Secret", settings.namespace, settings.database)
    there = secret is not None and "url" in (secret.get("data") or {})
    detail = f"the Secret {settings.database} {'is there' if there else 'with the key url is not there'}"
    found.append(Check("database address", there, detail, "dojo cluster install --with-postgres, or --database URL"))
    for kind in _NEEDED:
        found += [_ready({"kind": kind, **each}) for each in objects.installed(kind)]
    found += [_queue(each) for each in objects.installed("ClusterQueue")]
    if all(each.ok for each in found):
        found += try_a_pod(settings)
    return found


def _ready(body: Object) -> Check:
    kind, _, name = identity(body)
    why = unready(body)
    words = pods_say(body) if why and kind != "PersistentVolumeClaim" else []
    about = {"PersistentVolumeClaim": "volume", "StatefulSet": "database", "Deployment": "service"}[kind]
    fine = "bound" if kind == "PersistentVolumeClaim" else f"{body['spec'].get('replicas', 1)} ready"
    hint = f"kubectl -n {body['metadata']['namespace']} describe {kind.lower()} {name}"
    return Check(f"{about} {name}", not why, "; ".join([why, *words]) if why else fine, hint)


def _queue(body: Object) -> Check:
    """Say whether Kueue admits from a queue, in its words."""
    active: Object = next((c for c in (body.get("status") or {}).get("conditions") or () if c["type"] == "Active"), {})
    ok = active.get("status") == "True"
    return Check(
        f"queue {body['metadata']['name']}", ok, active.get("message") or "Kueue has not looked at it yet", "is Kueue up?"
    )
