"""What an operator decides about the pods of sandboxes: environment variables, read anew for each sandbox."""

from __future__ import annotations

import functools
import getpass
import hashlib
import os
import re
import socket
from collections.abc import Iterable, Mapping
from typing import Literal, Self

from pydantic import Field

from harness.spec.base import Spec
from harness.spec.errors import UsageError
from harness.spec.variables import read

PREFIX = "DOJO_K8S_"
OWNER_IN_QUEUE = "{owner}"
_FAR_END = re.compile(r"(\d+(\.\d+){3}|\[[0-9a-f:]+\]):\d{1,5}")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def refuse_bad_names(settings: Spec, prefix: str, names: Iterable[str]) -> None:
    """Refuse what cannot be the name of an object in Kubernetes.

    Raises:
        UsageError: names the variable.
    """
    for name in names:
        value = getattr(settings, name)
        if value and not _LABEL.fullmatch(value.replace(OWNER_IN_QUEUE, "x") if name == "queue" else value):
            hint = "lower-case letters, digits, dashes"
            raise UsageError(f"{prefix}{name.upper()}={value!r} cannot be a name in Kubernetes", hint=hint)


class Settings(Spec):
    """Settings of the backend; each is called ``DOJO_K8S_`` and its name in capitals."""

    namespace: str = Field("dojo-sandboxes", description="where pods are made; nothing else should live there")
    queue: str = Field(
        "", description="Kueue's LocalQueue that admits them, `{owner}` in it for whose runs they are; empty: none"
    )
    queue_fallback: str = Field(
        "", description="LocalQueue for an owner who has none of the name that `queue` gives; empty: such a submit is refused"
    )
    queued: Literal["gpu", "all"] = Field("gpu", description="which of them the queue admits: those with GPUs, or all")
    dev_grader: Literal["own", "shared"] = Field(
        "own",
        description="the GPUs of the pod that scores on dev while its run's agent works: `own`, asked for beside those of the "
        "run's sandbox, or `shared`, the very same, on the same node and asked for once (needs an NVIDIA runtime that gives "
        "unprivileged pods what they name)",
    )
    priority_class: str = Field(
        "dojo-measured",
        description="PriorityClass of the pods, so that nothing of less weight takes their place; empty: none",
    )
    runtime_class: str = Field("", description="RuntimeClass of the pods, such as gvisor; empty: the cluster's own")
    disk: Literal["memory", "node"] = Field(
        "memory",
        description="what sandboxes write to: `memory` (a tmpfs with a hard limit, counted as memory) or `node` (the node's "
        "disk, where the kubelet ends a pod that writes more)",
    )
    cpu_share: float = Field(
        1.0, gt=0, le=1, description="share of its CPUs that a pod asks for; below 1 pods are not Guaranteed"
    )
    wait: float = Field(3600.0, gt=0, description="seconds that a pod may wait for admission and a node")
    start: float = Field(600.0, gt=0, description="seconds that a pod on a node may take to answer: pulling its image counts")
    owner: str = Field("", description="whose sandboxes `gc` looks after; empty: this user of this host")
    far_ends: str = Field(
        "",
        description="HOST:PORT,… that an open pod would reach, beside API and kubelet: agents start when none answers",
    )
    pull: Literal["IfNotPresent", "Always", "Never"] = Field("IfNotPresent", description="imagePullPolicy")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read them.

        Raises:
            UsageError: one has a value that it cannot have; names it.
        """
        found = read(cls, PREFIX, environment)
        for entry in filter(None, found.far_ends.split(",")):
            if not _FAR_END.fullmatch(entry.strip()):
                raise UsageError(f"{PREFIX}FAR_ENDS: {entry!r} is no address", hint="10.0.0.1:443 or [fd00::1]:443; no names")
        refuse_bad_names(found, PREFIX, ("namespace", "queue", "queue_fallback", "runtime_class", "priority_class"))
        return found

    def far_end_pairs(self) -> list[tuple[str, int]]:
        """Return `far_ends` as hosts and ports."""
        pairs = [entry.strip().rpartition(":") for entry in self.far_ends.split(",") if entry.strip()]
        return [(host.strip("[]"), int(port)) for host, _, port in pairs]

    def queue_of(self, gpus: int) -> str:
        """Return the LocalQueue that admits a pod with so many GPUs; "" where none does."""
        return self.queue if gpus or self.queued == "all" else ""

    def owner_label(self) -> str:
        """Return who makes pods here, as a label's value."""
        return self.owner or _user_of_this_host()


@functools.cache
def _user_of_this_host() -> str:
    return hashlib.sha256(f"{getpass.getuser()}@{socket.gethostname()}".encode()).hexdigest()[:16]
