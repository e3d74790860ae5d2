"""How a Job ended, from what the API says of it and its pod: what its runner said, or what became of the runner."""

from __future__ import annotations

from typing import Any

from harness.executor.runners import ENDED, MENDED_BY_ANOTHER, End, error_said
from harness.sandbox.kubernetes.deaths import disruption
from harness.spec.errors import StoreError
from harness.spec.outcome import Cause, Death

# what a kubelet says of containers that it knows and that are not there any more: nobody saw how they ended
_LOST = frozenset({"Unknown", "ContainerStatusUnknown"})


def finished(job: dict[str, Any]) -> bool:
    """Whether a Job is over: complete, or failed for good."""
    return any(_is_true(job, kind) for kind in ("Complete", "Failed"))


def end_of(job: dict[str, Any], pods: list[dict[str, Any]]) -> End:
    """Say how a Job ended.

    Args:
        job: the Job as the API gives it.
        pods: its pods, as far as they are still there.
    """
    failed: dict[str, Any] = next((c for c in (job.get("status") or {}).get("conditions") or () if c["type"] == "Failed"), {})
    words = f"its Job ended: {failed.get('reason', 'unknown')}: {failed.get('message', '')}".rstrip(": ")
    if failed.get("reason") == "DeadlineExceeded":
        return End(None, Death(Cause.HARNESS, words))
    for pod in sorted(pods, key=lambda found: str(found["metadata"].get("creationTimestamp", "")), reverse=True):
        if said := disruption(pod):
            return End(None, Death(Cause.EVICTED, said))
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            ended = (container.get("state") or {}).get("terminated")
            if ended:
                return _ended(ended)
    return End(None, Death(Cause.HARNESS, words))


def _ended(ended: dict[str, Any]) -> End:
    code, message = ended.get("exitCode"), (ended.get("message") or "").strip()
    if ended.get("reason") == "OOMKilled":
        return End(None, Death(Cause.HARNESS, "its runner ran out of memory (DOJO_K8S_RUNNER_MEMORY_MB)"))
    if ended.get("reason") in _LOST:
        return End(None, Death(Cause.EVICTED, f"its node lost its runner ({ended['reason']}, exit code {code}), as by a restart"))
    error = error_said(message, code or 1)
    if code in ENDED or (error is not None and error.code in MENDED_BY_ANOTHER):
        why = f": {error.message}" if error is not None else ""
        return End(None, Death(Cause.HARNESS, f"its runner was ended (exit code {code}){why}"))
    text = f"its runner ended with exit code {code}: {message[-800:] or ended.get('reason', '')}"
    return End(
        error or StoreError(text, hint="`kubectl logs` of its Job says more", code="runner_failed"), Death(Cause.HARNESS, text)
    )


def _is_true(job: dict[str, Any], kind: str) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == kind and condition["status"] == "True" for condition in conditions)
