"""Attacks from a pod on the cluster around it: its API, its nodes, other pods, names, metadata, the internet (row 24)."""

from __future__ import annotations

from harness.attack.base import Attack, DoesNotApply, Where, stopped
from harness.attack.ground import Ground
from harness.sandbox.base import Sandbox
from harness.sandbox.contract.promise import expect, sh
from harness.sandbox.jail.door import PORT
from harness.sandbox.kubernetes import KubernetesBackend
from harness.sandbox.kubernetes.backend import pod_of
from harness.sandbox.kubernetes.surroundings import around
from harness.sandbox.reach import FarEnd, reached_from

# Where a pod keeps what speaks for it to the cluster, and how its environment names Services.
_CREDENTIALS = (
    "ls /var/run/secrets /run/secrets /etc/kubernetes /root/.kube 2>/dev/null; env | grep -i -e kube -e _SERVICE_ -e _PORT_; true"
)


def _require_cluster(ground: Ground) -> None:
    if not isinstance(ground.backend, KubernetesBackend):
        raise DoesNotApply(f"sandboxes of {ground.backend.name} are on no cluster")


def _reach_the_cluster(ground: Ground) -> str:
    _require_cluster(ground)
    with ground.stage.new() as other:
        sandbox = ground.stage.sandbox
        own, others = pod_of(sandbox), pod_of(other)
        address = others["status"]["podIP"]
        ends = [*around(own), FarEnd("another sandbox", "tcp", address, PORT), FarEnd("another sandbox", "tcp", address, 22)]
        found = reached_from(sandbox, ends)
    stopped(not found, f"reached: {', '.join(map(str, found))}")
    kinds = dict.fromkeys(end.what for end in ends)
    return f"none of {len(ends)} addresses and names answered: {', '.join(kinds)}"


def _use_credentials(ground: Ground) -> str:
    """No token of a service account, no kubeconfig, no environment variable of the cluster."""
    _require_cluster(ground)
    return _look_for_credentials(ground.stage.sandbox)


def _look_for_credentials(sandbox: Sandbox) -> str:
    result = sh(sandbox, _CREDENTIALS)
    expect(result.ok, result)
    stopped(not result.stdout.strip(), result.stdout.decode(errors="replace"))
    return "no token, no kubeconfig and no variable of the cluster"


ATTACKS = (
    Attack(
        24, "reaches-the-cluster", Where.SANDBOX,
        "connect from a pod to the cluster's API, ports of its node as the kubelet's, other pods, DNS, metadata, the internet",
        "a network policy that closes the namespace in both directions, seen to be in force before an agent starts",
        _reach_the_cluster,
    ),
    Attack(
        24, "speaks-for-its-pod", Where.SANDBOX,
        "use the token of the pod's service account, a kubeconfig, or addresses that its environment names",
        "no token is mounted, and nothing of the cluster is in a command's environment",
        _use_credentials,
    ),
)  # fmt: skip
