"""What lies around a pod and is to be out of its reach: the cluster's API, its node, names, metadata, the internet."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import urlsplit

from harness.sandbox.kubernetes import cluster
from harness.sandbox.reach import FarEnd
from harness.spec.errors import DojoError

_SOON_S = 10.0
# the kubelet (with and without rights), its health and kube-proxy's, etcd, ssh, and what listens on NodePorts first
_OF_A_NODE = (10250, 10255, 10248, 10256, 2379, 22, 30000)
_METADATA = (
    ("169.254.169.254", 80), ("169.254.170.2", 80), ("169.254.170.23", 80), ("100.100.100.200", 80), ("fd00:ec2::254", 80),
)  # fmt: skip
_INTERNET = [(host, port) for host in ("1.1.1.1", "8.8.8.8", "2606:4700:4700::1111") for port in (53, 443)]
_NAMES = ("kubernetes.default.svc", "metadata.google.internal", "example.com")

# by the address that we know a cluster by; what it answers changes with its servers alone
_known: dict[str, list[tuple[str, int]]] = {}


def around(pod: dict[str, Any]) -> list[FarEnd]:
    """Return what a pod may not reach: known addresses, and those that the cluster tells us.

    Args:
        pod: as the API gives it, running.
    """
    ends = [FarEnd("the cluster's API", "tcp", host, port) for host, port in _api()]
    node = (pod.get("status") or {}).get("hostIP", "")
    ports = dict.fromkeys([*kubelet_ports((pod.get("spec") or {}).get("nodeName", "")), *_OF_A_NODE])
    ends += [FarEnd("its node", "tcp", node, port) for port in ports if node]
    for host in _dns():
        ends += [FarEnd("the cluster's names", "udp", host, 53), FarEnd("the cluster's names", "tcp", host, 53)]
    ends += [FarEnd("metadata of the cloud", "tcp", host, port) for host, port in _METADATA]
    ends += [FarEnd("the internet", "tcp", host, port) for host, port in _INTERNET]
    ends += [FarEnd("the internet", "udp", host, 53) for host in ("1.1.1.1", "8.8.8.8")]
    return ends + [FarEnd("a name", "name", name, 443) for name in _NAMES]


def api_ends() -> list[tuple[str, int]]:
    """Return where the cluster's API is served, as far as we may know: its Service, the servers behind it."""
    core = cluster.core()
    if known := _known.get(core.api_client.configuration.host):
        return known
    found: list[tuple[str, int]] = []
    with contextlib.suppress(DojoError):
        service: Any = cluster.ask(
            "looking for the API", core.read_namespaced_service, "kubernetes", "default", patience_s=_SOON_S
        )
        found += [(service.spec.cluster_ip, port.port) for port in service.spec.ports]
    with contextlib.suppress(DojoError):
        ends: Any = cluster.ask(
            "looking for the API", core.read_namespaced_endpoints, "kubernetes", "default", patience_s=_SOON_S
        )
        found += [(a.ip, port.port) for part in ends.subsets or () for a in part.addresses or () for port in part.ports or ()]
    if found:
        _known[core.api_client.configuration.host] = found
    return found


def kubelet_ports(node: str) -> list[int]:
    """Return where a node's kubelet listens, if it is not where it usually is and we may know."""
    with contextlib.suppress(DojoError):
        found: Any = cluster.ask("looking at the node", cluster.core().read_node, node, patience_s=_SOON_S)
        return [found.status.daemon_endpoints.kubelet_endpoint.port]
    return []


def _api() -> list[tuple[str, int]]:
    found = api_ends()
    ours = urlsplit(cluster.core().api_client.configuration.host)
    if ours.hostname and not ours.hostname.startswith(("127.", "localhost", "::1")):
        found.append((ours.hostname, ours.port or 443))
    return list(dict.fromkeys(found))


def _dns() -> list[str]:
    """Return the addresses of the cluster's DNS, or where it usually is: the tenth of the Services."""
    core = cluster.core()
    with contextlib.suppress(DojoError):
        listed: Any = cluster.ask(
            "looking for DNS", core.list_namespaced_service, "kube-system", label_selector="k8s-app=kube-dns", patience_s=_SOON_S
        )
        if found := [service.spec.cluster_ip for service in listed.items]:
            return found
    return [f"{host.rpartition('.')[0]}.10" for host, _ in api_ends()[:1] if "." in host]
