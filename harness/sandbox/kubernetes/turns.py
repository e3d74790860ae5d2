"""Who gives way where runs hold one place and wait for another: without a rule they could wait for each other for ever.

A run has two sandboxes at a time and asks for one after the other. Where several have got their first and there is no room for a
second, all but the oldest let go of what they hold and ask again: the oldest gets its second, works, ends, and makes room.
Where a second pod shares the GPUs of the first it waits for CPUs and memory of one node, and only who holds some there gives way.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from harness.sandbox.kubernetes import cluster, deaths, pod, sharing
from harness.sandbox.kubernetes.settings import Settings
from harness.spec.errors import SandboxUnavailable
from harness.spec.outcome import Cause, Death

GIVES_WAY = "gives_way"
# Room comes and goes while pods are placed; and each look lists what is in the namespace.
_PATIENCE_S = 10.0
_SOON_S = 5.0


def run_of(found: dict[str, Any]) -> str:
    """Return the run that a sandbox's pod or secret is of: its id is RUN-ATTEMPT-ROLE."""
    return _run_of(str((found["metadata"].get("annotations") or {}).get(pod.ID_ANNOTATION, "")))


def give_way_to_older(id: str, settings: Settings, begun: float, why: str) -> None:
    """Do nothing, unless an older run waits as that of the sandbox ``id`` does: with a place in its hands.

    Args:
        id: of a sandbox that waits for a place.
        settings: the operator's.
        begun: when it began to wait, by ``time.monotonic()``.
        why: it waits, in the cluster's words.

    Raises:
        SandboxUnavailable: there is one, and this sandbox's run holds a place (code ``gives_way``).
    """
    if time.monotonic() - begun < _PATIENCE_S:
        return
    core = cluster.core()
    listed = [
        item
        for call in (core.list_namespaced_pod, core.list_namespaced_secret)
        for page in cluster.pages("sandboxes", call, settings.namespace, pod.ID_LABEL, _SOON_S)
        for item in page["items"]
    ]
    if older := oldest_in_the_way(listed, _run_of(id)):
        text = f"gives its place to {older}, which is older and waits for a second one too: {why}"
        raise SandboxUnavailable(text, hint="it is asked for again", code=GIVES_WAY, death=Death(Cause.SCHEDULING, text))


def oldest_in_the_way(listed: Iterable[dict[str, Any]], run: str) -> str:
    """Return the oldest run that ``run`` has to give way to; "" where it need not, or holds nothing.

    Args:
        listed: all pods and secrets of sandboxes, as the API gives them; what a quota keeps waiting is a secret without a pod.
        run: one that waits; runs are called by the time when they were submitted.
    """
    holding, waiting = dict[str, set[str]](), dict[str, set[str]]()  # run → nodes; "" is any
    pods, secrets = set[str](), dict[str, str]()
    for found in listed:
        if "data" in found:
            secrets[found["metadata"]["name"]] = run_of(found)
            continue
        pods.add(found["metadata"]["name"])
        phase = (found.get("status") or {}).get("phase", "Pending")
        if found["metadata"].get("deletionTimestamp") or phase not in ("Pending", "Running"):
            continue
        if not deaths.waiting_for_a_place(found):
            holding.setdefault(run_of(found), set()).add(found["spec"]["nodeName"])
        else:
            gated = found["spec"].get("schedulingGates")  # what a queue keeps waiting may be given by any node's room
            waiting.setdefault(run_of(found), set()).add("" if gated else sharing.pinned_to(found))
    for name, owner in secrets.items():
        if name not in pods:
            waiting.setdefault(owner, set()).add("")
    mine = holding.get(run, set())
    return (
        min((other for other in holding if other < run and waiting.get(other, set()) & {"", *mine}), default="") if mine else ""
    )


def _run_of(id: str) -> str:
    return id.rpartition("-")[0].rpartition("-")[0]
