"""Whose queue admits a sandbox: one for all, or one for each owner, so that Kueue shares a cluster out between people."""

from __future__ import annotations

import getpass
import hashlib
import re
from typing import Any

from harness.sandbox.kubernetes import cluster
from harness.sandbox.kubernetes.settings import OWNER_IN_QUEUE, Settings
from harness.spec.errors import MissingError, NotFoundError, SandboxError

CODE = "no_queue"
# Kueue's API, the newest version first
VERSIONS = ("v1beta2", "v1beta1")
_LONGEST = 63
_OR_ANOTHER = ", or name one that admits those who have none in DOJO_K8S_QUEUE_FALLBACK"
_SOON_S = 10.0


def name_for(template: str, owner: str) -> str:
    """Return what an owner's queue is called; owners of different names never share one.

    A name that Kubernetes would not take is made one, with six digits of its digest.
    """
    if OWNER_IN_QUEUE not in template:
        return template
    room = _LONGEST - len(template.replace(OWNER_IN_QUEUE, ""))
    plain = re.sub(r"[^a-z0-9]+", "-", owner.lower()).strip("-")
    if plain != owner or len(plain) > room:
        plain = f"{plain[: room - 7]}-{hashlib.sha256(owner.encode()).hexdigest()[:6]}".lstrip("-")
    return template.replace(OWNER_IN_QUEUE, plain)


def named(settings: Settings, owner: str = "") -> Settings:
    """Return settings that name the queue of an owner, whoever else makes sandboxes by them; as they are where one is for all.

    Args:
        settings: the operator's.
        owner: a user of the service; "": who runs this process.

    Raises:
        MissingError: the owner's queue is not there, and no other was named for that (code ``no_queue``).
    """
    if OWNER_IN_QUEUE not in settings.queue:
        return settings
    return settings.model_copy(update={"queue": require(settings, owner)})


def require(settings: Settings, owner: str = "") -> str:
    """Return the LocalQueue that admits an owner's sandboxes, which is there as far as we may know.

    Raises:
        MissingError: it is not, and neither is the one for those who have none (code ``no_queue``).
        SandboxUnavailable: the cluster does not answer.
    """
    owner = owner or getpass.getuser()
    mine = name_for(settings.queue, owner)
    if _is_there(settings.namespace, mine):
        return mine
    if settings.queue_fallback and _is_there(settings.namespace, settings.queue_fallback):
        return settings.queue_fallback
    other = f", and no {settings.queue_fallback} for who has none" if settings.queue_fallback else ""
    whose = f" for {owner}" if OWNER_IN_QUEUE in settings.queue else ""
    raise MissingError(
        f"there is no LocalQueue {mine} in {settings.namespace}{whose}{other}",
        hint=f"make it (docs/operate-a-cluster.md, Shares of users){_OR_ANOTHER if whose else ', or unset DOJO_K8S_QUEUE'}",
        code=CODE,
    )


def _is_there(namespace: str, name: str) -> bool:
    """Whether a LocalQueue is there; where we may not look it is taken to be."""
    from kubernetes.client import CustomObjectsApi

    read: Any = CustomObjectsApi(cluster.core().api_client).get_namespaced_custom_object
    for version in VERSIONS:
        try:
            cluster.ask(
                f"looking for the LocalQueue {name}", read, "kueue.x-k8s.io", version, namespace, "localqueues", name,
                patience_s=_SOON_S,
            )  # fmt: skip
            return True
        except NotFoundError:
            continue  # there is no such queue, or no such version
        except SandboxError as exc:
            if exc.code != "refused":
                raise
            return True
    return False
