"""Objects of the cluster's API as tests need them."""

from typing import Any

RUN, BATCH = "r20261129-000000-aaaaa", "b20261129-000000-bbbbb"


def job(number: int = 1, reason: str = "", message: str = "", run: str = RUN, **spec: Any) -> dict[str, Any]:
    """A Job of a run; with a reason it has failed."""
    conditions = [{"type": "Failed", "status": "True", "reason": reason, "message": message}] if reason else []
    return {
        "metadata": {
            "name": f"dojo-{run}-{number}",
            "uid": f"job-{run}-{number}",
            "resourceVersion": "1",
            "labels": {"org.dojo.run": run, "org.dojo.batch": BATCH},
        },
        "spec": spec,
        "status": {"conditions": conditions},
    }


def complete(number: int = 1, run: str = RUN) -> dict[str, Any]:
    found = job(number, run=run)
    found["status"]["conditions"] = [{"type": "Complete", "status": "True"}]
    return found


def runner_pod(exit_code: int | None = None, message: str = "", reason: str = "Error", **status: Any) -> dict[str, Any]:
    """The pod of a Job; with an exit code its container has ended."""
    state = {"terminated": {"exitCode": exit_code, "message": message, "reason": reason}} if exit_code is not None else {}
    container = {"name": "runner", "image": "i", "state": state}
    shown = {"phase": "Failed" if exit_code else "Running", "containerStatuses": [container]}
    return {"metadata": {"name": "p", "uid": "pod"}, "spec": {"nodeName": "n1"}, "status": {**shown, **status}}


def pending(id: str = f"{RUN}-1-task", message: str = "", gates: tuple[str, ...] = (), queue: str = "") -> dict[str, Any]:
    """A sandbox's pod without a node."""
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}] if message else []
    labels = {"kueue.x-k8s.io/queue-name": queue} if queue else {}
    return {
        "metadata": {"name": "sb", "uid": "sandbox", "annotations": {"org.dojo.id": id}, "labels": labels},
        "spec": {"schedulingGates": [{"name": gate} for gate in gates]},
        "status": {"phase": "Pending", "conditions": conditions},
    }
