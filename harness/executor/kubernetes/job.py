"""What the cluster is asked for: the Job that drives one run, as a plain object of the API."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from typing import Any

from harness.executor.kubernetes.settings import RunnerSettings
from harness.grading.engines import handed_on
from harness.sandbox.images import reference
from harness.sandbox.kubernetes.pod import NOT_MOVED
from harness.sandbox.kubernetes.settings import Settings
from harness.session.lifecycle import AFTER, MAX_ATTEMPTS
from harness.spec.run import RunSpec
from harness.store.artefacts.place import SETTING as ARTEFACTS

RUN_LABEL, BATCH_LABEL, ROLE_LABEL = "org.dojo.run", "org.dojo.batch", "org.dojo.role"
RUNNER = "runner"
HOME, CACHE, SCRATCH, CONFIG = "/dojo/home", "/dojo/cache", "/tmp", "/dojo/config"
# as long as a runner may take to leave its run resumable
GRACE_S = 60
_SCRATCH_MB = 2048
_IMAGES = "DOJO_IMAGE_"
_NUMBERED = re.compile(r"-(\d+)$")
# settings of the backend that a runner has as its submitter has them
_HANDED_ON = (
    "namespace",
    "queue",
    "queued",
    "dev_grader",
    "priority_class",
    "runtime_class",
    "disk",
    "cpu_share",
    "wait",
    "start",
    "far_ends",
    "pull",
)


def job_name(run: str, number: int) -> str:
    """Return what the Job is called that drives a run for the ``number``-th time: the same for whoever submits it."""
    return f"dojo-{run}-{number}"


def number_of(name: str) -> int:
    """Return which of its run's Jobs one is, from 1; 0 where the name is none of ours."""
    found = _NUMBERED.search(name)
    return int(found[1]) if found else 0


def deadline_s(spec: RunSpec, runners: RunnerSettings, sandboxes: Settings) -> int:
    """Return after how many seconds a Job is ended: no run that goes on takes that long, with all of its attempts.

    The Job's clock runs while its sandboxes wait for a place, so each attempt has the time that two of them may wait.
    """
    attempt = spec.budget.wall + 2 * (sandboxes.wait + sandboxes.start) + runners.room
    return math.ceil(MAX_ATTEMPTS * attempt)


def job(
    spec: RunSpec,
    number: int,
    runners: RunnerSettings,
    sandboxes: Settings,
    program: Sequence[str],
    after: str = "",
    artefacts: str = "",
) -> dict[str, Any]:
    """Return the Job of a run.

    Args:
        spec: the run.
        number: which of its run's Jobs it is, from 1.
        runners: settings of Jobs.
        sandboxes: settings of the pods that its runner makes.
        program: what it executes in the image; the run's id comes last.
        after: what became of the Job before, in words; "" for the first.
        artefacts: address of the place where runs that have ended are put; "": nowhere.
    """
    labels = {
        "app.kubernetes.io/name": "dojo-runner",
        "app.kubernetes.io/managed-by": "dojo",
        ROLE_LABEL: RUNNER,
        RUN_LABEL: spec.id,
        BATCH_LABEL: spec.batch,
    }
    body = pod_spec(runners, sandboxes, [*program, spec.id], after, artefacts)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job_name(spec.id, number), "namespace": runners.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": deadline_s(spec, runners, sandboxes),
            "ttlSecondsAfterFinished": runners.ttl,
            # a runner that had to make room is started anew by the cluster itself, and goes on with its run
            "podFailurePolicy": {
                "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "podReplacementPolicy": "Failed",
            "template": {"metadata": {"labels": labels, "annotations": {NOT_MOVED: "false"}}, "spec": body},
        },
    }


def pod_spec(
    runners: RunnerSettings, sandboxes: Settings, command: Sequence[str], after: str = "", artefacts: str = ""
) -> dict[str, Any]:
    """Return what a runner's pod is: it executes ``command`` with results, cache and database at hand; see `job`."""
    user = runners.runs_as()
    body: dict[str, Any] = {
        "serviceAccountName": runners.account,
        "restartPolicy": "Never",
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        # a container's first process is deaf to SIGTERM until it listens: a runner that still starts would not hear it
        "shareProcessNamespace": True,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(runners, sandboxes, command, after, artefacts)],
        "volumes": [
            _volume("home", runners.home),
            _volume("cache", runners.cache),
            {"name": "scratch", "emptyDir": {"sizeLimit": f"{_SCRATCH_MB}Mi"}},
            *([{"name": "config", "configMap": {"name": runners.config}}] if runners.config else ()),
        ],
    }
    if runners.priority_class:
        body["priorityClassName"] = runners.priority_class
    return body


def _container(
    runners: RunnerSettings, sandboxes: Settings, command: Sequence[str], after: str, artefacts: str
) -> dict[str, Any]:
    memory = f"{runners.memory_mb}Mi"
    variables = {
        "HOME": SCRATCH,
        "DOJO_HOME": HOME,
        "DOJO_CACHE": CACHE,
        AFTER: after,
        ARTEFACTS: artefacts,
        "DOJO_K8S_OWNER": sandboxes.owner_label(),
        **{f"DOJO_K8S_{name.upper()}": str(getattr(sandboxes, name)) for name in _HANDED_ON},
        **{name: value for name, value in os.environ.items() if name.startswith(_IMAGES)},
        **handed_on(os.environ),
        **({"DOJO_CONFIG": f"{CONFIG}/dojo.toml"} if runners.config else {}),
    }
    secret: list[dict[str, Any]] = [{"secretRef": {"name": runners.variables}}] if runners.variables else []
    if artefacts and runners.artefacts:  # a cluster may give its pods rights to a bucket in ways of its own
        secret.append({"secretRef": {"name": runners.artefacts, "optional": True}})
    shown = [
        {"name": "scratch", "mountPath": SCRATCH},
        _mount("home", HOME, runners.home),
        _mount("cache", CACHE, runners.cache),
        *([{"name": "config", "mountPath": CONFIG, "readOnly": True}] if runners.config else ()),
    ]
    return {
        "name": RUNNER,
        "image": reference("runner", "cpu"),
        "imagePullPolicy": runners.pull,
        "command": list(command),
        "envFrom": secret,
        "env": [
            *({"name": name, "value": value} for name, value in variables.items() if value),
            {"name": "DOJO_DATABASE", "valueFrom": {"secretKeyRef": {"name": runners.database, "key": "url"}}},
        ],
        "resources": {
            "requests": {"cpu": f"{max(1, round(runners.cpus * 1000))}m", "memory": memory},
            "limits": {"memory": memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # how it failed is told in its last line, which the API keeps with the pod
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": shown,
    }


def _volume(name: str, place: str) -> dict[str, Any]:
    if place.startswith("/"):
        return {"name": name, "hostPath": {"path": place, "type": "Directory"}}
    return {"name": name, "persistentVolumeClaim": {"claimName": place.partition("/")[0]}}


def _mount(name: str, target: str, place: str) -> dict[str, Any]:
    folder = "" if place.startswith("/") else place.partition("/")[2]
    return {"name": name, "mountPath": target, **({"subPath": folder} if folder else {})}
