"""`dojo cluster check`: each thing that an installation needs, ok or what to do."""

from __future__ import annotations

import os
from collections.abc import Mapping

from harness.cluster import objects
from harness.cluster.choices import SETTINGS
from harness.cluster.kustomize import Object, identity
from harness.cluster.pod_probe import try_a_pod
from harness.cluster.ready import pods_say, unready
from harness.executor.kubernetes.settings import PREFIX, RunnerSettings
from harness.sandbox.base import Check
from harness.sandbox.kubernetes import checks as sandboxes
from harness.spec.errors import DojoError
from harness.store.artefacts.place import SETTING

_AGAIN = "dojo cluster install, as somebody who may"
_SECRET = f"{PREFIX}ARTEFACTS"
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
        found += try_a_pod(*_with_artefacts(settings))
    return found


def _with_artefacts(settings: RunnerSettings) -> tuple[RunnerSettings, str]:
    """Return where runs are put that have ended, and settings with the Secret for it: as here, else as the service has them."""
    config = objects.read("ConfigMap", settings.namespace, SETTINGS)
    said: Mapping[str, str] = {**((config or {}).get("data") or {}), **os.environ}
    name = RunnerSettings.from_environment({_SECRET: said.get(_SECRET, "")}).artefacts
    return settings.model_copy(update={"artefacts": name}), said.get(SETTING, "")


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
