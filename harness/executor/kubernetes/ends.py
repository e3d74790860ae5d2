"""How a Job ended, from what the API says of it and its pod: what its runner said, or what became of the runner."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from harness.sandbox.kubernetes.deaths import disruption
from harness.spec.errors import DojoError, MissingError, SandboxError, StoreError, UsageError
from harness.spec.outcome import Cause, Death

# what `dojo run` exits with when it was asked to stop, and what the exit code is of a process that was killed, or was asked
# to stop before it listened
_INTERRUPTED, _KILLED, _ASKED = 130, 137, 143
_OF_EXIT: dict[int, type[DojoError]] = {2: UsageError, 3: MissingError}
_SANDBOX = frozenset({"sandbox", "sandbox_unavailable", "refused", "exists"})


@dataclass(frozen=True)
class End:
    """How a Job ended while its run had not.

    Attributes:
        error: what its runner said; None where it was ended before it could say anything.
        death: what became of the runner, in the cluster's words.
    """

    error: DojoError | None
    death: Death

    @property
    def again(self) -> bool:
        """Whether another Job may go on with the run."""
        return self.error is None


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
    error = _said(message, code or 1)
    if code in (_INTERRUPTED, _KILLED, _ASKED) or (error is not None and error.code == "lost"):
        return End(None, Death(Cause.HARNESS, f"its runner was ended (exit code {code})"))
    text = f"its runner ended with exit code {code}: {message[-800:] or ended.get('reason', '')}"
    return End(
        error or StoreError(text, hint="`kubectl logs` of its Job says more", code="runner_failed"), Death(Cause.HARNESS, text)
    )


def _said(message: str, code: int) -> DojoError | None:
    """Read the error that ``dojo run --json`` printed in its last line."""
    for line in reversed(message.splitlines()):
        try:
            error = json.loads(line)["error"]
            kind = SandboxError if error["code"] in _SANDBOX else _OF_EXIT.get(code, StoreError)
            return kind(str(error["message"]), hint=str(error["hint"]), code=str(error["code"]))
        except (ValueError, KeyError, TypeError):
            continue
    return None


def _is_true(job: dict[str, Any], kind: str) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == kind and condition["status"] == "True" for condition in conditions)
