"""Whether the queue that is to admit a plan's sandboxes is there: asked at submit, where somebody reads the answer."""

from __future__ import annotations

from harness.executor.planner import BatchPlan
from harness.sandbox.kubernetes import NAME, queues
from harness.sandbox.kubernetes.settings import OWNER_IN_QUEUE, Settings
from harness.spec.accounts import OWNER
from harness.spec.errors import UsageError


def require_queue(plan: BatchPlan) -> None:
    """Refuse a plan whose sandboxes no queue would admit.

    Raises:
        MissingError: the queue is not there (code ``no_queue``); says which, and what to do.
        UsageError: each owner is to have a queue, and the batch's executor makes sandboxes of all owners as one user.
    """
    settings, owner = Settings.from_environment(), str(plan.settings.get(OWNER, ""))
    if not any(settings.queue_of(spec.limits.gpus) for spec in plan.runs if spec.sandbox == NAME):
        return
    executor = str(plan.settings.get("executor", "local"))
    if owner and OWNER_IN_QUEUE in settings.queue and executor != "kubernetes":
        raise UsageError(
            f"DOJO_K8S_QUEUE={settings.queue!r} is a queue for each owner, and the executor {executor} of this service makes the "
            "sandboxes of all its users as one",
            hint="dojo serve --executor kubernetes, or one queue for all",
        )
    queues.require(settings, owner)
