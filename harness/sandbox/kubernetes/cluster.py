"""The cluster's API: one client for each process, its errors in our words, and patience while it is away."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from harness.extras import require
from harness.spec.errors import MissingError, NotFoundError, SandboxError, SandboxUnavailable
from harness.spec.outcome import Cause, Death

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

T = TypeVar("T")
# An API server that is upgraded or moved is away for minutes; what runs in pods goes on meanwhile.
PATIENCE_S = 300.0
_REQUEST_S = 30.0
_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_PAGE = 500
# 500 is what a webhook that does not answer (Kueue restarts) comes out as
_PASSING = frozenset({429, 500, 502, 503, 504})
# but for this one, of server-side apply: asking again does not help
_NO_SUCH_FIELD = "field not declared in schema"


def core() -> CoreV1Api:
    """Return this process's client.

    Raises:
        MissingError: nothing says where a cluster is, or the package is not installed.
    """
    return _core(os.getpid())  # connections must not be shared over a fork


def configured() -> bool:
    """Whether anything says where a cluster is, and the package to ask it is there."""
    try:
        core()
    except MissingError:
        return False
    return True


@functools.lru_cache(maxsize=1)
def _core(pid: int) -> CoreV1Api:
    require("kubernetes")
    from kubernetes import client, config
    from yaml import YAMLError

    try:  # not `load_config`, which prints on standard output
        if os.environ.get("KUBERNETES_SERVICE_HOST") and not os.environ.get("KUBECONFIG"):
            config.load_incluster_config()  # type: ignore[no-untyped-call]
        else:
            config.load_kube_config()  # type: ignore[no-untyped-call]
    except (config.ConfigException, YAMLError, OSError, ValueError) as exc:
        raise MissingError(
            f"no Kubernetes cluster is configured: {str(exc)[:300]}",
            hint="set KUBECONFIG to a kubeconfig, or run where a service account is; or use --sandbox namespace",
        ) from exc
    return client.CoreV1Api()


def ask(what: str, call: Callable[..., T], *arguments: object, patience_s: float = PATIENCE_S, **keywords: object) -> T:
    """Make a call of the API; while the cluster does not answer, again and again for ``patience_s`` seconds.

    Raises:
        NotFoundError: the object is not there.
        SandboxError: the cluster refuses (code ``exists`` where the object is there already, ``quota`` where
            the namespace's is used up, else ``refused``).
        SandboxUnavailable: it did not answer in time.
    """
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    deadline, pause = time.monotonic() + patience_s, _PAUSE_S
    while True:
        try:
            return call(*arguments, _request_timeout=_REQUEST_S, **keywords)
        except ApiException as exc:
            if exc.status not in _PASSING or _NO_SUCH_FIELD in message_of(exc):
                raise _refusal(what, exc) from exc
            failure: Exception = exc
            said = message_of(exc)
        except HTTPError as exc:
            failure, said = exc, str(exc)[:300]
        if time.monotonic() + pause > deadline:
            text = f"{what}: the cluster does not answer: {said}"
            raise SandboxUnavailable(text, hint="`dojo doctor k8s`", death=Death(Cause.SANDBOX, text)) from failure
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_S)


def plainly(
    what: str, call: Callable[..., Any], *arguments: object, patience_s: float = PATIENCE_S, **keywords: object
) -> dict[str, Any]:
    """Make a call as `ask` does and return what the API answers as it says it: the client's models take twenty times as long."""

    def read(*given: object, **named: object) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(call(*given, _preload_content=False, **named).data)
        return found

    return ask(what, read, *arguments, patience_s=patience_s, **keywords)


def pages(
    what: str, call: Callable[..., Any], namespace: str, selector: str, patience_s: float = PATIENCE_S, most: int = _PAGE
) -> Iterator[dict[str, Any]]:
    """Yield a listing of ``selector`` as the API gives it page by page, ``most`` objects at a time; raises as `ask`."""
    following: str | None = ""
    while following is not None:
        more = {"_continue": following} if following else {}
        page = plainly(f"listing {what}", call, namespace, label_selector=selector, limit=most, patience_s=patience_s, **more)
        yield page
        following = page["metadata"].get("continue") or None


def message_of(exc: Exception) -> str:
    """Return what the API server said, without headers."""
    body = getattr(exc, "body", None) or ""
    try:
        return str(json.loads(body)["message"])[:500]
    except (ValueError, KeyError, TypeError):
        return (str(body) or str(getattr(exc, "reason", "")) or str(exc)).strip()[:500]


def _refusal(what: str, exc: Exception) -> Exception:
    status, said = getattr(exc, "status", 0), message_of(exc)
    if status == 404:
        return NotFoundError(f"{what}: {said}", hint="`dojo doctor k8s` says what the cluster lacks", code="not_found")
    if status == 409:
        return SandboxError(f"{what}: {said}", hint="destroy it first", code="exists")
    if status == 403 and "exceeded quota" in said:
        return SandboxError(f"{what}: {said}", hint="wait for others, or have the namespace's ResourceQuota raised", code="quota")
    if status in (401, 403):
        return SandboxError(
            f"{what}: the cluster does not let us: {said}", hint="k8s/base has the rights that dojo needs", code="refused"
        )
    return SandboxError(f"{what}: the cluster refuses: {said}", hint="`dojo doctor k8s`", code="refused")
