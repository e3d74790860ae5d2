"""`dojo doctor k8s`: a real sandbox that tries what it must not reach, and what nodes have of images and GPUs.

Slower than `checks`, which every submit asks.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Sequence
from typing import Any

from harness.sandbox import images
from harness.sandbox.base import Check, Sandbox, SandboxSpec
from harness.sandbox.kubernetes import cluster
from harness.sandbox.kubernetes.backend import KubernetesBackend, pod_of
from harness.sandbox.kubernetes.checks import APPLY
from harness.sandbox.kubernetes.settings import Settings
from harness.sandbox.kubernetes.sharing import GPU
from harness.sandbox.kubernetes.surroundings import around
from harness.sandbox.reach import reached_from
from harness.spec.errors import DojoError, SandboxUnavailable
from harness.spec.outcome import Cause
from harness.spec.task import Limits

_LIMITS = Limits(cpus=0.5, memory_mb=256, disk_mb=64, pids=64)
# how long a probe may wait for a node, and to start: an image that is pulled first may take longer, and the line says so
_WAIT_S, _START_S = 60.0, 180.0
_SOON_S = 10.0
_WRITE = "for d in /workspace /tmp /dev/shm; do head -c 1000000 /dev/zero > $d/doctor && rm $d/doctor || exit 1; done"
_ENFORCED = (
    f"{APPLY}; and the cluster's network must enforce NetworkPolicies (Calico, Cilium, kube-router do; flannel alone does not)"
)


def probe() -> list[Check]:
    """Look at the nodes, then let a sandbox try its walls and its disk, and take it down."""
    settings = Settings.from_environment().model_copy(update={"wait": _WAIT_S, "start": _START_S})
    found = [*_nodes(settings), *_try_a_sandbox(settings)]
    return [*found, try_sharing(settings)] if settings.dev_grader == "shared" else found


def _try_a_sandbox(settings: Settings) -> list[Check]:
    backend = KubernetesBackend(settings)
    try:
        sandbox = backend.create(SandboxSpec(f"doctor-{secrets.token_hex(4)}", _LIMITS))
    except (DojoError, OSError) as exc:
        said = getattr(exc, "message", str(exc))
        if "its network is open" in said:
            return [Check("policy in force", False, "a probe's network stayed open for 30 s", _ENFORCED)]
        return [Check("a sandbox", False, f"none comes up: {said}", getattr(exc, "hint", "") or "kubectl describe its pod")]
    try:
        return [_walls(sandbox), _storage(sandbox, settings)]
    except (DojoError, OSError) as exc:
        return [Check("a sandbox", False, f"it came up and broke: {getattr(exc, 'message', exc)}", "kubectl describe its pod")]
    finally:
        sandbox.close()


def try_sharing(settings: Settings) -> Check:
    """Whether a second pod sees the GPU of a first one, by trying; where none is free for a moment that is said."""
    backend, id = KubernetesBackend(settings), f"doctor-{secrets.token_hex(4)}"
    limits = _LIMITS.model_copy(update={"gpus": 1})
    try:
        with contextlib.ExitStack() as stack:
            for role in ("first", "second"):
                stack.enter_context(
                    contextlib.closing(backend.create(SandboxSpec(f"{id}-{role}", limits, image="grader", gpu_owner=id)))
                )
    except SandboxUnavailable as exc:
        waited = exc.death.cause is Cause.SCHEDULING
        return Check("shared gpus", waited, f"{'not tried' if waited else 'none'}: {exc.message}", exc.hint)
    except (DojoError, OSError) as exc:
        return Check("shared gpus", False, getattr(exc, "message", str(exc)), getattr(exc, "hint", ""))
    return Check("shared gpus", True, "a pod that asks for none sees the GPU of another on its node")


def _walls(sandbox: Sandbox) -> Check:
    """Whether the policy is kept, by trying."""
    ends = around(pod_of(sandbox))
    found = reached_from(sandbox, ends)
    if found:
        return Check("policy in force", False, f"a sandbox reaches {', '.join(map(str, found))}", _ENFORCED)
    kinds = ", ".join(dict.fromkeys(end.what for end in ends))
    return Check("policy in force", True, f"a sandbox tried {len(ends)} addresses and names and reached none: {kinds}")


def _storage(sandbox: Sandbox, settings: Settings) -> Check:
    result = sandbox.exec(["sh", "-c", _WRITE], timeout_s=60.0)
    where = {"memory": "in memory, limited by the pod", "node": "on the node's disk, limited by its kubelet"}[settings.disk]
    said = result.stderr.decode(errors="replace").strip()[-200:]
    return Check(
        "storage",
        result.ok,
        f"/workspace, /tmp and /dev/shm are written to, {where}" if result.ok else f"a sandbox cannot write: {said}",
        "a full node: kubectl describe nodes; DOJO_K8S_DISK chooses memory or node",
    )


def _nodes(settings: Settings) -> list[Check]:
    core = cluster.core()
    try:
        found = cluster.ask("looking at nodes", core.list_node, patience_s=_SOON_S)
    except DojoError as exc:
        unseen = f"not looked at: {exc.message}"
        return [Check(name, True, unseen, "ask somebody who may list nodes") for name in ("images", "gpus")]
    nodes = usable(core.api_client.sanitize_for_serialization(found.items))
    if not nodes:
        return [Check("nodes", False, "no node is ready and takes pods", "kubectl get nodes")]
    with_gpus = [node for node in nodes if _gpus(node)[1]]
    kinds = (("cuda", with_gpus), ("cpu", [node for node in nodes if node not in with_gpus]))
    named = os.environ.get(images.reference_variable("grader-vllm"))
    names = ("task", "grader", *(("grader-vllm",) if named else ()))
    wanted = [(images.reference(name, kind), group) for kind, group in kinds if group for name in names]
    return [*(image_on(group, image, settings) for image, group in wanted), gpus_of(nodes)]


def usable(nodes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the nodes that are ready and not cordoned."""
    return [
        node
        for node in nodes
        if not (node.get("spec") or {}).get("unschedulable")
        and any(c["type"] == "Ready" and c["status"] == "True" for c in (node.get("status") or {}).get("conditions") or ())
    ]


def image_on(nodes: Sequence[dict[str, Any]], image: str, settings: Settings) -> Check:
    """Say on which nodes an image is; one that no registry is named for cannot be pulled.

    A kubelet names its 50 largest images alone, and dojo's are large.
    """
    lacking = [node["metadata"]["name"] for node in nodes if _short(image) not in _names(node)]
    name = f"image {image}"
    if not lacking:
        return Check(name, True, f"on every node that needs it ({len(nodes)})")
    where = f"not on {len(lacking)} of {len(nodes)} nodes: {', '.join(lacking[:5])}{' …' if len(lacking) > 5 else ''}"
    host = image.partition("/")[0] if "/" in image else ""
    if settings.pull != "Never" and ("." in host or ":" in host or host == "localhost"):
        return Check(name, True, f"{where}; pulled from {host} when it is first needed")
    return Check(
        name, False, where, "load it there, or push it and name it in DOJO_IMAGE_TASK and DOJO_IMAGE_GRADER (k8s/README.md)"
    )


def gpus_of(nodes: Sequence[dict[str, Any]]) -> Check:
    """Say how many GPUs each node offers, and how many of those it has are well."""
    counted = [(node["metadata"]["name"], *_gpus(node)) for node in nodes if _gpus(node)[1]]
    if not counted:
        return Check("gpus", True, f"none on {len(nodes)} nodes: profiles for CPUs alone (a device plugin offers {GPU})")
    sick = [name for name, well, there in counted if well < there]
    words = ", ".join(f"{name} {well}" if well == there else f"{name} {well} of {there}" for name, well, there in counted)
    return Check("gpus", not sick, words, f"look at the device plugin and the GPUs of {', '.join(sick)}: kubectl describe node")


def _gpus(node: dict[str, Any]) -> tuple[int, int]:
    """Return how many of a node's GPUs can be had, and how many there are."""
    status = node.get("status") or {}
    return int((status.get("allocatable") or {}).get(GPU, 0)), int((status.get("capacity") or {}).get(GPU, 0))


def _names(node: dict[str, Any]) -> set[str]:
    return {_short(name) for image in (node.get("status") or {}).get("images") or () for name in image.get("names") or ()}


def _short(image: str) -> str:
    """Return an image's name without what is understood by itself."""
    short = image.removeprefix("docker.io/").removeprefix("library/")
    return short if "@" in short or ":" in short.rpartition("/")[2] else f"{short}:latest"
