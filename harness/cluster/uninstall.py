"""`dojo cluster uninstall`: takes away what `install` put there, and keeps what holds data unless it is told otherwise."""

from __future__ import annotations

import time
from typing import Any

from harness.cluster import objects
from harness.cluster.install import Step
from harness.cluster.kustomize import identity
from harness.executor.kubernetes.ends import finished
from harness.executor.kubernetes.job import RUN_LABEL
from harness.executor.kubernetes.jobs import Jobs
from harness.executor.kubernetes.settings import RunnerSettings
from harness.sandbox.kubernetes import cluster
from harness.sandbox.kubernetes.settings import Settings
from harness.spec.errors import MissingError, SandboxUnavailable
from harness.spec.progress import Progress

_SANDBOXES = "app.kubernetes.io/name=dojo-sandbox"
_SHOWN = 5
_GONE_S = 300.0


def open_runs() -> list[str]:
    """Return the runs whose Jobs have not ended, and the names of sandboxes that still live."""
    runners, sandboxes = RunnerSettings.from_environment(), Settings.from_environment()
    jobs, _ = Jobs(runners).listed(RUN_LABEL)
    pods: Any = cluster.ask(
        "listing sandboxes", cluster.core().list_namespaced_pod, sandboxes.namespace, label_selector=_SANDBOXES
    )
    runs = {job["metadata"]["labels"][RUN_LABEL] for job in jobs if not finished(job)}
    return [*sorted(runs), *(f"sandbox {pod.metadata.name}" for pod in pods.items)]


def uninstall(say: Progress, *, data: bool = False, end_runs: bool = False) -> list[Step]:
    """Remove what `install` made.

    Args:
        say: told what happens, an object a line.
        data: also the namespaces, volumes and Secrets: users, quotas and the audit log are gone with the database. What a
            volume with the policy Retain holds stays on its disk.
        end_runs: although runs are open; they are lost unless their results directory is kept.

    Raises:
        MissingError: runs are open (code ``runs_open``).
        SandboxError, SandboxUnavailable: the cluster refuses, or does not answer, or a namespace does not go away.
    """
    going = open_runs()
    if going and not end_runs:
        shown = ", ".join(going[:_SHOWN]) + (" …" if len(going) > _SHOWN else "")
        raise MissingError(
            f"{len(going)} runs or sandboxes are open: {shown}",
            hint="wait, or `dojo cancel` them (`dojo gc` for what nobody drives); --end-runs takes them down all the same",
            code="runs_open",
        )
    if going:
        _end_runs(say)
    steps = []
    for kind in reversed(objects.KINDS):
        for there in objects.installed(kind):
            name = identity(there)
            keep = objects.KINDS[kind].data and not data
            if not keep:
                objects.remove(*name)
            step = Step(*name, "kept" if keep else "removed")
            say(f"{step.did:<9}  {step.kind} {step.name}{f' in {step.namespace}' if step.namespace else ''}")
            steps.append(step)
    _await_absence([step for step in steps if step.kind == "Namespace" and step.did == "removed"], say)
    return steps


def _await_absence(namespaces: list[Step], say: Progress) -> None:
    """Wait until namespaces are gone, in which nothing can be made as long as they end."""
    end = time.monotonic() + _GONE_S
    for step in namespaces:
        if objects.read(step.kind, "", step.name) is not None:
            say(f"waits      Namespace {step.name}: until all that was in it is gone")
        while objects.read(step.kind, "", step.name) is not None:
            if time.monotonic() > end:
                raise SandboxUnavailable(
                    f"the namespace {step.name} does not go away",
                    hint=f"kubectl describe namespace {step.name} says what keeps it",
                )
            time.sleep(0.5)


def _end_runs(say: Progress) -> None:
    from kubernetes.client import BatchV1Api

    runners, sandboxes = RunnerSettings.from_environment(), Settings.from_environment()
    core = cluster.core()
    say("removing Jobs and sandboxes of open runs")
    cluster.ask(
        "removing Jobs", BatchV1Api(core.api_client).delete_collection_namespaced_job, runners.namespace,
        label_selector=RUN_LABEL, propagation_policy="Background",
    )  # fmt: skip
    cluster.ask("removing sandboxes", core.delete_collection_namespaced_pod, sandboxes.namespace, label_selector=_SANDBOXES)
