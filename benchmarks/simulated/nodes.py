"""Simulated nodes, played by a kwok of the benchmark's own: pods there run once they are placed, and end well after a time."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

LABEL = "org.dojo.stand-in"
_READY_S = 120.0

_RUNS = """{{ $now := Now }}
phase: Running
startTime: {{ $now | Quote }}
hostIP: {{ NodeIPWith .spec.nodeName | Quote }}
podIP: {{ PodIPWith .spec.nodeName ( or .spec.hostNetwork false ) ( or .metadata.uid "" ) ( or .metadata.name "" ) ( or .metadata.namespace "" ) | Quote }}
conditions:
- { type: Initialized, status: "True", lastTransitionTime: {{ $now | Quote }} }
- { type: Ready, status: "True", lastTransitionTime: {{ $now | Quote }} }
- { type: ContainersReady, status: "True", lastTransitionTime: {{ $now | Quote }} }
containerStatuses:
{{ range .spec.containers }}
- { name: {{ .name | Quote }}, image: {{ .image | Quote }}, imageID: "", ready: true, restartCount: 0, state: { running: { startedAt: {{ $now | Quote }} } } }
{{ end }}
"""  # noqa: E501
_ENDED = """{{ $now := Now }}
phase: Succeeded
conditions:
- { type: Ready, status: "False", reason: PodCompleted, lastTransitionTime: {{ $now | Quote }} }
- { type: ContainersReady, status: "False", reason: PodCompleted, lastTransitionTime: {{ $now | Quote }} }
containerStatuses:
{{ range .spec.containers }}
- { name: {{ .name | Quote }}, image: {{ .image | Quote }}, imageID: "", ready: false, restartCount: 0, state: { terminated: { exitCode: 0, reason: Completed, finishedAt: {{ $now | Quote }} } } }
{{ end }}
"""  # noqa: E501


def stages(runner_s: float, sandbox_s: float) -> str:
    """Return kwok's configuration: how pods are played."""
    alive = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
    runs = {"key": ".status.phase", "operator": "In", "values": ["Running"]}

    def ends(labels: dict[str, str], after_s: float) -> dict[str, Any]:
        selector = {"matchLabels": labels, "matchExpressions": [alive, runs]}
        return {
            "selector": selector,
            "delay": {"durationMilliseconds": round(after_s * 1000)},
            "next": {"statusTemplate": _ENDED},
        }

    unseen = {"key": ".status.podIP", "operator": "DoesNotExist"}
    gone = {"key": ".metadata.deletionTimestamp", "operator": "Exists"}
    played = {
        "pod-runs": {"selector": {"matchExpressions": [alive, unseen]}, "next": {"statusTemplate": _RUNS}},
        "runner-ends": ends({"org.dojo.role": "runner"}, runner_s),
        "sandbox-ends": ends({"app.kubernetes.io/name": "dojo-sandbox"}, sandbox_s),
        "pod-goes": {"selector": {"matchExpressions": [gone]}, "next": {"delete": True}},
    }
    documents = [
        {
            "apiVersion": "kwok.x-k8s.io/v1alpha1",
            "kind": "Stage",
            "metadata": {"name": name},
            "spec": {"resourceRef": {"apiGroup": "v1", "kind": "Pod"}, **spec},
        }
        for name, spec in played.items()
    ]
    return "\n---\n".join(json.dumps(document, indent=1) for document in documents)


def node(number: int, slots: int) -> dict[str, Any]:
    """Return a simulated node with room for so many pods, each with a GPU."""
    room = {"cpu": "64", "memory": "512Gi", "ephemeral-storage": "2Ti", "pods": str(slots), "nvidia.com/gpu": str(slots)}
    name = f"stand-in-{number:04d}"
    labels = {LABEL: "yes", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    return {
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"capacity": room, "allocatable": room},
    }


@contextlib.contextmanager
def simulated(core: Any, count: int, slots: int, kwok: str, kubeconfig: str, config: Path, port: int) -> Iterator[None]:
    """Have so many simulated nodes and no other that takes pods, until the block is left.

    Args:
        core: the client's CoreV1Api.
        count: nodes.
        slots: pods on each.
        kwok: the program.
        kubeconfig: of an administrator.
        config: what `stages` returned, in a file.
        port: where kwok says how it is.
    """
    others = [found.metadata.name for found in core.list_node().items if not found.spec.unschedulable]
    command = [kwok, "--kubeconfig", kubeconfig, "--config", str(config), "--manage-all-nodes=false"]
    command += [f"--manage-nodes-with-label-selector={LABEL}=yes", "--node-lease-duration-seconds=120", "--cidr=10.240.0.0/14"]
    log = config.with_name("kwok.log")
    with log.open("wb") as out, ThreadPoolExecutor(8) as pool:
        player = subprocess.Popen([*command, f"--server-address=127.0.0.1:{port}"], stdout=out, stderr=out)
        try:
            list(pool.map(lambda name: core.patch_node(name, {"spec": {"unschedulable": True}}), others))
            list(pool.map(core.create_node, (node(number, slots) for number in range(count))))
            _await_ready(core, count, player, log)
            yield
        finally:
            names = [found.metadata.name for found in core.list_node(label_selector=LABEL).items]
            list(pool.map(lambda name: _quietly(core.delete_node, name), names))
            list(pool.map(lambda name: _quietly(core.patch_node, name, {"spec": {"unschedulable": None}}), others))
            player.terminate()
            player.wait(30)


def _await_ready(core: Any, count: int, player: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _READY_S
    while True:
        listed = core.list_node(label_selector=LABEL).items
        ready = sum(any(c.type == "Ready" and c.status == "True" for c in found.status.conditions or ()) for found in listed)
        if ready == count:
            return
        if player.poll() is not None or time.monotonic() > end:
            sys.exit(f"{ready} of {count} simulated nodes became ready; kwok said: {log.read_text()[-2000:]}")
        time.sleep(0.5)


def _quietly(call: Any, *arguments: Any) -> None:
    with contextlib.suppress(Exception):  # what goes by itself meanwhile
        call(*arguments)
