"""What the cluster is asked for: the pod of a sandbox and the secret that belongs to it, as plain objects of the API."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from harness.sandbox import cgroups
from harness.sandbox.base import SandboxSpec
from harness.sandbox.execd.settings import PRIVATE_DIR
from harness.sandbox.folder import to_json
from harness.sandbox.jail.door import PORT
from harness.sandbox.jail.pod import HOST_VARIABLE, PLACES, SECRET_DIR, STAGE_VARIABLE
from harness.sandbox.jail.rootfs import accounts
from harness.sandbox.kubernetes import sharing
from harness.sandbox.kubernetes.identity import Credentials, agent_user, pod_name, service_name
from harness.sandbox.kubernetes.settings import Settings
from harness.sandbox.this_host import base_environment

ID_LABEL, OWNER_LABEL, ID_ANNOTATION = "org.dojo.sandbox", "org.dojo.owner", "org.dojo.id"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
# a cluster that takes nodes away to save money leaves those alone where a run is being measured
NOT_MOVED = "cluster-autoscaler.kubernetes.io/safe-to-evict"
SERVICE_DIR, CODE_FILE = "/usr/lib/dojo-service", "execd.zip"
ASSETS = "/assets"
FILL, MAIN = "fill", "main"
# what execd keeps (`syscalls.KEPT_CAPS`), all of which the level "baseline" of Pod Security grants; commands have none
CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "NET_BIND_SERVICE"]
# what the door, execd and its workers may take beside the commands
RESERVE_MB = 448
# sockets, and what detached processes print
_PRIVATE_MB = 192
_PROGRAM = f"import sys; sys.path.append('{SERVICE_DIR}/{CODE_FILE}'); from sandbox.jail.pod import main; main()"


def secret(
    spec: SandboxSpec, settings: Settings, credentials: Credentials, api: Sequence[tuple[str, int]] = ()
) -> dict[str, Any]:
    """Return the secret of a sandbox: its specification for who attaches, and what its first process reads.

    Args:
        spec: of the sandbox.
        settings: the operator's.
        credentials: of this pod alone.
        api: where the cluster's API is served, which must not answer before an agent starts.
    """
    agent = agent_user(spec.id)
    environment = base_environment()
    del environment["PATH"]  # that of this host; the image has its own
    plan = {
        "agent": agent,
        "base_env": environment,
        "env": dict(spec.env),
        "rlimits": cgroups.rlimits(spec.limits, ("pids",)),
        "relays": [relay.port for relay in spec.relays],
        "far_ends": [*settings.far_end_pairs(), *api],
    }
    files = {
        "spec.json": json.dumps(to_json(spec)),
        "plan.json": json.dumps(plan),
        "cert.pem": credentials.certificate,
        "key.pem": credentials.key,
        "token": credentials.token,
        **accounts(agent),
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(spec, settings),
        "immutable": True,
        "data": {name: base64.b64encode(text.encode()).decode() for name, text in files.items()},
    }


def shown_secret(made: dict[str, Any]) -> dict[str, Any]:
    """Return what a pod is shown of its secret: the same under a name that no pod had before, gone when that is.

    A kubelet keeps what it read of a secret for as long as it knows a pod that is shown it, and a pod that somebody deleted
    stays known for a moment: its successor of the same name would get the certificate and the token of before.

    Args:
        made: the secret as the API returned it.
    """
    kept = made["metadata"]
    owner = {"apiVersion": "v1", "kind": "Secret", "name": kept["name"], "uid": kept["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"{kept['name']}-{kept['uid'][:8]}",
            "namespace": kept["namespace"],
            "labels": {"app.kubernetes.io/managed-by": "dojo"},
            "ownerReferences": [owner],
        },
        "immutable": True,
        "data": {name: value for name, value in made["data"].items() if name != "spec.json"},
    }


def pod(
    spec: SandboxSpec, settings: Settings, image: str, secret_name: str, holder: sharing.Holder | None = None
) -> dict[str, Any]:
    """Return the pod of a sandbox, which is shown the secret of that name and shares the GPUs of ``holder``, if there is one."""
    metadata = _metadata(spec, settings)
    metadata["labels"] |= {"app.kubernetes.io/name": "dojo-sandbox", "app.kubernetes.io/managed-by": "dojo"}
    if queue := settings.queue_of(0 if holder else spec.limits.gpus):
        metadata["labels"][QUEUE_LABEL] = queue
    if sharing.wanted(spec, settings):
        metadata["labels"][sharing.OWNER_LABEL] = pod_name(spec.gpu_owner)
    metadata["annotations"][NOT_MOVED] = "false"
    body: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "hostname": "sandbox",
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["127.0.0.1"]},
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}, "runAsUser": 0, "runAsGroup": 0},
        "initContainers": [_container(FILL, spec, settings, image)],
        "containers": [_container(MAIN, spec, settings, image)],
        "volumes": _volumes(spec, settings, secret_name),
    }
    if settings.runtime_class:
        body["runtimeClassName"] = settings.runtime_class
    if settings.priority_class:
        body["priorityClassName"] = settings.priority_class
    if spec.limits.gpus:
        body["tolerations"] = [{"key": sharing.GPU, "operator": "Exists", "effect": "NoSchedule"}]
    whole = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}
    if holder is not None:
        sharing.share(whole, holder)
    return whole


def service_map(code: bytes) -> dict[str, Any]:
    """Return the ConfigMap with execd's code, which all sandboxes of one version of dojo share."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": service_name(), "labels": {"app.kubernetes.io/managed-by": "dojo"}},
        "immutable": True,
        "binaryData": {CODE_FILE: base64.b64encode(code).decode()},
    }


def _metadata(spec: SandboxSpec, settings: Settings) -> dict[str, Any]:
    name = pod_name(spec.id)
    return {
        "name": name,
        "namespace": settings.namespace,
        "labels": {ID_LABEL: name, OWNER_LABEL: settings.owner_label()},
        "annotations": {ID_ANNOTATION: spec.id, **{f"org.dojo/{key}": value for key, value in spec.labels.items()}},
    }


def _container(stage: str, spec: SandboxSpec, settings: Settings, image: str) -> dict[str, Any]:
    places = [{"name": "disk", "mountPath": path, "subPath": path.rpartition("/")[2]} for path in PLACES] if stage == MAIN else []
    shown = [
        {"name": "assets", "mountPath": mount.target, "subPath": str(number), "readOnly": True}
        for number, mount in enumerate(spec.mounts)
    ]
    return {
        "name": stage,
        "image": image,
        "imagePullPolicy": settings.pull,
        "command": ["python3", "-I", "-S", "-c", _PROGRAM],
        "workingDir": "/",
        "env": [
            {"name": STAGE_VARIABLE, "value": stage},
            {"name": HOST_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
        ],
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "resources": _resources(stage, spec, settings),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": CAPABILITIES},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "code", "mountPath": SERVICE_DIR, "readOnly": True},
            {"name": "private", "mountPath": PRIVATE_DIR, "subPath": stage},
            {"name": "secret", "mountPath": SECRET_DIR, "readOnly": True},
            *({"name": "accounts", "mountPath": f"/etc/{name}", "subPath": name, "readOnly": True} for name in accounts(0)),
            *([{"name": "assets", "mountPath": ASSETS}] if stage == FILL else shown),
            *places,
        ],
    }


def _resources(stage: str, spec: SandboxSpec, settings: Settings) -> dict[str, Any]:
    """Return limits and equal requests: a pod that neighbours cannot press (Guaranteed), unless the operator shares CPUs."""
    limits = spec.limits
    memory = limits.memory_mb + RESERVE_MB + (limits.disk_mb if settings.disk == "memory" else 0)
    most: dict[str, str] = {"cpu": f"{round(limits.cpus * 1000)}m", "memory": f"{memory}Mi"}
    asked = {**most, "cpu": f"{max(1, round(limits.cpus * 1000 * settings.cpu_share))}m"}
    if settings.disk == "node":  # the pod's limit counts what it is shown as well, which lies on the node's disk
        most["ephemeral-storage"] = asked["ephemeral-storage"] = f"{limits.disk_mb + RESERVE_MB + _shown_mb(spec)}Mi"
    if limits.gpus and stage == MAIN:
        most[sharing.GPU] = asked[sharing.GPU] = str(limits.gpus)
    return {"limits": most, "requests": asked}


def _shown_mb(spec: SandboxSpec) -> int:
    """Return how much is sent into the pod to be shown there, a little more than less."""
    total = 0
    for mount in spec.mounts:
        files = mount.source.rglob("*") if mount.source.is_dir() else (mount.source,)
        total += sum(1024 * 4 + path.stat().st_size for path in files if path.exists())
    return -(-total // 1048576)


def _volumes(spec: SandboxSpec, settings: Settings, name: str) -> list[dict[str, Any]]:
    disk = {"sizeLimit": f"{spec.limits.disk_mb}Mi", **({"medium": "Memory"} if settings.disk == "memory" else {})}
    private = [{"key": key, "path": key} for key in ("plan.json", "cert.pem", "key.pem", "token")]
    return [
        {"name": "code", "configMap": {"name": service_name(), "defaultMode": 0o444}},
        {"name": "private", "emptyDir": {"medium": "Memory", "sizeLimit": f"{_PRIVATE_MB}Mi"}},
        {"name": "secret", "secret": {"secretName": name, "defaultMode": 0o400, "items": private}},
        {
            "name": "accounts",
            "secret": {"secretName": name, "defaultMode": 0o444, "items": [{"key": key, "path": key} for key in accounts(0)]},
        },
        {"name": "assets", "emptyDir": {}},
        {"name": "disk", "emptyDir": disk},
    ]
