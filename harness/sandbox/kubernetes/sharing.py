"""A run's GPUs for two of its pods: the second is put beside the first and shown the same cards by name, and asks for none.

Which cards those are is found out in the first pod when it has come up and before anything of an agent is in it, and kept in a
Secret. Whether the second sees them is looked at when it has come up: a runtime that does not heed the variable shows it none.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harness.sandbox.base import Sandbox, SandboxSpec
from harness.sandbox.kubernetes import cluster
from harness.sandbox.kubernetes.identity import pod_name
from harness.sandbox.kubernetes.settings import Settings
from harness.spec.errors import MissingError, NotFoundError

GPU = "nvidia.com/gpu"
# Pods of one value share their cards: the seam's `gpu_owner`.
OWNER_LABEL = "org.dojo.gpu-owner"
VARIABLE = "NVIDIA_VISIBLE_DEVICES"
CODE = "gpus_not_shared"
_KEPT, _KEY = "-gpus", "cards.json"
_OWN = "DOJO_K8S_DEV_GRADER=own gives the second pod a GPU of its own"
_HEEDED = (
    "let the nodes' NVIDIA runtime give unprivileged pods what they name "
    "(accept-nvidia-visible-devices-envvar-when-unprivileged, and DOJO_K8S_RUNTIME_CLASS=nvidia where it is not every pod's), "
    f"or {_OWN}"
)
# The variable, the nodes, and what the driver lists, which an image without its program does not say.
_LOOK = f'printf "%s\\n" "${VARIABLE}"; ls -d /dev/nvidia[0-9]* 2>/dev/null; nvidia-smi -L 2>/dev/null; exit 0'
_UUID = re.compile(r"\(UUID: ((?:GPU|MIG)-[^)\s]+)\)")
_NAMED = re.compile(r"(?:GPU|MIG)-[A-Za-z0-9_/-]+")
# nvidia-smi loads the driver's state anew at each call, some seconds for eight GPUs
_LOOK_S = 60.0


@dataclass(frozen=True)
class Cards:
    """The GPUs of a pod.

    Attributes:
        names: what a container runtime calls them.
        seen: device nodes, and the UUIDs that the driver tells, as a root command in the pod finds them; both may be none
            where the cards are pretended.
    """

    names: tuple[str, ...]
    seen: tuple[str, ...]


@dataclass(frozen=True)
class Holder:
    """A pod that has GPUs from the cluster, as the API gives it, and what they are."""

    pod: Mapping[str, Any]
    cards: Cards

    @property
    def node(self) -> str:
        """The node it is on."""
        return str(self.pod["spec"]["nodeName"])


def wanted(spec: SandboxSpec, settings: Settings) -> bool:
    """Whether a sandbox may share GPUs with others of its owner."""
    return settings.dev_grader == "shared" and bool(spec.limits.gpus and spec.gpu_owner)


def holder_of(spec: SandboxSpec, settings: Settings) -> Holder | None:
    """Return the living pod whose GPUs a sandbox is to share; None where it asks for GPUs itself, as its owner has none now.

    Raises:
        MissingError: there is such a pod, and nobody knows its cards: it was made while nothing was to be shared.
        SandboxError, SandboxUnavailable: the cluster refuses, or does not answer.
    """
    if not wanted(spec, settings):
        return None
    core = cluster.core()
    mine = f"{OWNER_LABEL}={pod_name(spec.gpu_owner)}"
    listed = [
        pod for page in cluster.pages("sandboxes", core.list_namespaced_pod, settings.namespace, mine) for pod in page["items"]
    ]
    found = next(filter(holds_gpus, listed), None)
    if found is None:
        return None
    shown = next(v["secret"]["secretName"] for v in found["spec"]["volumes"] if v["name"] == "secret")
    try:
        kept: Any = cluster.ask("reading a pod's cards", core.read_namespaced_secret, f"{shown}{_KEPT}", settings.namespace)
    except NotFoundError:
        raise MissingError(
            f"the cards of the pod {found['metadata']['name']} are not known: it was made when nothing was to be shared",
            hint=f"begin the run anew; {_OWN}",
            code=CODE,
        ) from None
    cards = json.loads(base64.b64decode(kept.data[_KEY]))
    return Holder(found, Cards(tuple(cards["names"]), tuple(cards["seen"])))


def holds_gpus(pod: Mapping[str, Any]) -> bool:
    """Whether a pod runs with GPUs that it asked the cluster for, and is not on its way out."""
    asked = any((c.get("resources") or {}).get("limits", {}).get(GPU) for c in pod["spec"]["containers"])
    return asked and (pod.get("status") or {}).get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")


def share(pod: dict[str, Any], holder: Holder) -> None:
    """Make a pod's body one that shares: beside the holder and for as long as that is there, with its cards, asking for none.

    Node selector and tolerations are the holder's, so that Kueue counts it in the flavor of its node and no taint keeps it away.
    """
    spec, owner = pod["spec"], holder.pod["metadata"]
    pod["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": owner["name"], "uid": owner["uid"]}]
    # not nodeName, which passes the scheduler by: a node without room would end the pod, and no gate of Kueue could hold it
    here = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [holder.node]}]}
    spec["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [here]}}}
    for name in ("nodeSelector", "tolerations"):
        if holder.pod["spec"].get(name):
            spec[name] = holder.pod["spec"][name]
    for container in spec["containers"]:
        for amounts in container["resources"].values():
            amounts.pop(GPU, None)
        container["env"].append({"name": VARIABLE, "value": ",".join(holder.cards.names)})


def pinned_to(pod: Mapping[str, Any]) -> str:
    """Return the node that a pod which shares is bound to; "" for any other."""
    affinity = ((pod.get("spec") or {}).get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    fields = [field for term in required.get("nodeSelectorTerms") or () for field in term.get("matchFields") or ()]
    return next((str(field["values"][0]) for field in fields if field["key"] == "metadata.name"), "")


def kept(shown: Mapping[str, Any], cards: Cards) -> dict[str, Any]:
    """Return the Secret that tells a pod's cards to who shares them later; it goes with the sandbox's own.

    Args:
        shown: the Secret that the pod is shown.
        cards: the pod's.
    """
    about = {**shown["metadata"], "name": f"{shown['metadata']['name']}{_KEPT}"}
    data = base64.b64encode(json.dumps(asdict(cards)).encode()).decode()
    return {"apiVersion": "v1", "kind": "Secret", "metadata": about, "immutable": True, "data": {_KEY: data}}


def cards_of(sandbox: Sandbox) -> Cards:
    """Return the cards of a sandbox that has come up and in which nothing of an agent was yet.

    Raises:
        MissingError: they have no names that a container runtime would know.
    """
    named, seen = _look(sandbox)
    count = sandbox.spec.limits.gpus
    said = tuple(part.strip() for part in named.split(","))
    told = tuple(name for name in seen if _NAMED.fullmatch(name))
    for names in (said, told):
        if len(names) == count and all(map(_NAMED.fullmatch, names)):
            return Cards(names, seen)
    raise MissingError(
        f"the sandbox {sandbox.spec.id!r} has {count} GPUs and nothing says which: {VARIABLE} is {named[:200]!r}, and the driver "
        f"tells {', '.join(told) or 'none'}",
        hint=f"the device plugin is to name cards by UUID (deviceIDStrategy: uuid); {_OWN}",
        code=CODE,
    )


def require_cards(sandbox: Sandbox, holder: Holder) -> None:
    """Refuse a sandbox that does not see the cards that it was to share: a grade would be computed without them.

    Raises:
        MissingError: says what it sees, and what to do.
    """
    _, seen = _look(sandbox)
    if seen != holder.cards.seen:
        raise not_shared(
            sandbox.spec.id,
            holder,
            f"that sees {', '.join(holder.cards.seen) or 'none'}, and it sees {', '.join(seen) or 'none'}",
        )


def not_shared(id: str, holder: Holder, why: str) -> MissingError:
    """Return the error for a sandbox that cannot share its run's GPUs, with what to do."""
    text = f"the sandbox {id!r} was to share {', '.join(holder.cards.names)} with the pod {holder.pod['metadata']['name']} "
    return MissingError(f"{text}on {holder.node}: {why}", hint=_HEEDED, code=CODE)


def _look(sandbox: Sandbox) -> tuple[str, tuple[str, ...]]:
    """Return the variable and, sorted, the device nodes and UUIDs; of a card in MIG mode its instances."""
    result = sandbox.exec(["sh", "-c", _LOOK], cwd="/", user="root", timeout_s=_LOOK_S)
    if not result.ok:
        raise MissingError(
            f"the sandbox {sandbox.spec.id!r} does not say which GPUs it has: "
            + ("nvidia-smi does not answer" if result.timed_out else result.stderr.decode(errors="replace").strip()[-300:]),
            hint=f"look at the driver of its node (`dmesg | grep NVRM`); {_OWN}",
            code=CODE,
        )
    named, *lines = result.stdout.decode(errors="replace").splitlines() or [""]
    uuids = _UUID.findall("\n".join(lines))
    instances = [uuid for uuid in uuids if uuid.startswith("MIG-")]
    nodes = [line for line in lines if line.startswith("/dev/")]
    return named, tuple(sorted([*nodes, *(instances or uuids)]))
