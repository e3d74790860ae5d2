"""A pod like a runner's that tries what runners need: results, cache and artefacts can be written, the database answers."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from harness.executor.kubernetes.job import CACHE, HOME, pod_spec
from harness.executor.kubernetes.settings import RunnerSettings
from harness.sandbox.base import Check
from harness.sandbox.kubernetes import cluster
from harness.sandbox.kubernetes.deaths import cannot_start, waiting_for_a_place
from harness.sandbox.kubernetes.settings import Settings
from harness.spec.errors import DojoError, NotFoundError
from harness.store.artefacts.place import SETTING as ARTEFACTS

_PATIENCE_S = 180.0
_TOLD = "/dev/termination-log"
# prints no address: the database's has a password in it
_PROGRAM = f"""
import json, os, tempfile
from sqlalchemy import text
said = {{}}
for name, place in (("results", "{HOME}"), ("cache", "{CACHE}")):
    try:
        with tempfile.NamedTemporaryFile(dir=place) as file:
            file.write(b"x")
        said[name] = ""
    except OSError as exc:
        said[name] = str(exc)
try:
    from harness.store.connect import Database
    ask = text("show server_version")
    said["version"] = str(Database(os.environ["DOJO_DATABASE"]).look(lambda it: it.execute(ask).scalar(), judge=False))
    said["database"] = ""
except Exception as exc:
    said["database"] = (getattr(exc, "detail", "") or f"{{type(exc).__name__}}: {{exc}}").splitlines()[0][:300]
if url := os.environ.get("{ARTEFACTS}"):
    try:
        from harness.store.artefacts.place import open_place
        open_place(url).try_it()
        said["artefacts"] = ""
    except Exception as exc:
        said["artefacts"] = (getattr(exc, "message", "") or f"{{type(exc).__name__}}: {{exc}}").splitlines()[0][:300]
open("{_TOLD}", "w").write(json.dumps(said))
"""
_HINTS = {
    "results": "the volume has to let the runners' user write (DOJO_K8S_RUNNER_USER, 1000 for root): chown it, or use fsGroup",
    "cache": "the volume has to let the runners' user write (DOJO_K8S_RUNNER_USER, 1000 for root): chown it, or use fsGroup",
    "artefacts": "does the Secret that DOJO_K8S_RUNNER_ARTEFACTS names hold the AWS_* variables, and may they write there?",
    "database": "is the address in the Secret one that pods reach, and does the database let that user in?",
}


def try_a_pod(settings: RunnerSettings, artefacts: str = "") -> list[Check]:
    """Let a pod try it, and take it down; where none comes up that is the only line.

    Args:
        settings: of runners.
        artefacts: address of the place where runs that have ended are put; "": nowhere.
    """
    try:
        said = _try(settings, artefacts)
    except (DojoError, ValueError) as exc:
        return [Check("a runner's pod", False, getattr(exc, "message", str(exc)), getattr(exc, "hint", ""))]
    if isinstance(said, str):
        return [Check("a runner's pod", False, said, f"kubectl -n {settings.namespace} get events")]
    fine = {
        "results": "a pod wrote to it",
        "cache": "a pod wrote to it",
        "database": f"PostgreSQL {said.get('version')} answers a pod",
        **({"artefacts": f"{artefacts}: a pod wrote, read and deleted"} if artefacts else {}),
    }
    return [Check(f"{name} in a pod", not said[name], said[name] or fine[name], _HINTS[name]) for name in fine]


def _try(settings: RunnerSettings, artefacts: str) -> dict[str, str] | str:
    """Return what the pod says of each thing, or why there is none."""
    with _pod(settings, artefacts) as (core, name):
        end = time.monotonic() + _PATIENCE_S
        while True:
            found: Any = cluster.ask("looking at the pod", core.read_namespaced_pod, name, settings.namespace)
            pod = core.api_client.sanitize_for_serialization(found)
            for status in (pod.get("status") or {}).get("containerStatuses") or ():
                if ended := (status.get("state") or {}).get("terminated"):
                    if ended["exitCode"]:
                        return f"it ended with exit code {ended['exitCode']}: {(ended.get('message') or '').strip()[-300:]}"
                    said: dict[str, str] = json.loads(ended.get("message") or "{}")
                    return said
            if time.monotonic() > end:
                why = waiting_for_a_place(pod) or cannot_start(pod) or "it has not ended"
                return f"none after {_PATIENCE_S:.0f} s: {why}"
            if why := cannot_start(pod):
                return why
            time.sleep(0.5)


@contextmanager
def _pod(settings: RunnerSettings, artefacts: str) -> Iterator[tuple[Any, str]]:
    core, name = cluster.core(), f"dojo-check-{secrets.token_hex(4)}"
    spec = pod_spec(settings, Settings.from_environment(), ["python", "-c", _PROGRAM], artefacts=artefacts)
    spec |= {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0, "activeDeadlineSeconds": int(_PATIENCE_S)}
    labels = {"app.kubernetes.io/name": "dojo-check", "org.dojo.role": "runner"}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}
    try:
        cluster.ask("making a pod", core.create_namespaced_pod, settings.namespace, body)
        yield core, name
    finally:
        with suppress(NotFoundError):
            cluster.ask("removing the pod", core.delete_namespaced_pod, name, settings.namespace)
