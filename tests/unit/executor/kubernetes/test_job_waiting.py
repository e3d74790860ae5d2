"""Why a run waits, in the cluster's own words."""

from typing import Any

import pytest

from harness.executor.kubernetes.settings import RunnerSettings
from harness.executor.kubernetes.waiting import Seen, Waiting, why
from harness.sandbox.kubernetes.settings import Settings
from harness.spec.errors import SandboxUnavailable
from tests.unit.executor.kubernetes.objects import RUN, complete, job, pending, runner_pod

KUEUE = "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor gpu, 1 more needed"


def workload(message: str) -> dict[str, Any]:
    return {"status": {"conditions": [{"type": "QuotaReserved", "status": "False", "message": message}]}}


def test_kueue_says_what_a_sandbox_waits_for() -> None:
    pod = pending(gates=("kueue.x-k8s.io/admission",), queue="gpus")
    seen = Seen(jobs={RUN: job()}, runners={RUN: [runner_pod()]}, sandboxes={RUN: [pod]}, workloads={"sandbox": workload(KUEUE)})
    assert why(seen, RUN) == f"task sandbox: Kueue, queue gpus: {KUEUE}"


def test_a_sandbox_that_kueue_has_not_looked_at_waits_in_its_queue() -> None:
    pod = pending(gates=("kueue.x-k8s.io/admission",), queue="gpus")
    assert why(Seen(sandboxes={RUN: [pod]}), RUN) == "task sandbox: waits for Kueue, in the queue gpus"


def test_the_scheduler_says_what_a_sandbox_waits_for() -> None:
    pod = pending(id=f"{RUN}-2-grade", message="0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")
    assert why(Seen(sandboxes={RUN: [pod]}), RUN).startswith("grade sandbox: no node for its pod: 0/3 nodes are available")


def test_an_image_that_is_not_to_be_had_is_named_with_the_nodes_words() -> None:
    pod = runner_pod()
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    pod["status"] = {"phase": "Pending", "containerStatuses": [{"name": "runner", "image": "dojo/runner:cpu", "state": waiting}]}
    said = why(Seen(jobs={RUN: job()}, runners={RUN: [pod]}), RUN)
    assert said == "its runner: its image dojo/runner:cpu is not to be had on the node: ErrImagePull: not found"


def test_a_job_that_gets_no_pod_says_why() -> None:
    seen = Seen(jobs={RUN: job()}, events={job()["metadata"]["name"]: 'pods "x" is forbidden: violates PodSecurity'})
    assert "has no pod" in why(seen, RUN) and "violates PodSecurity" in why(seen, RUN)


def test_nothing_is_said_of_a_run_that_goes_on_or_has_ended() -> None:
    assert why(Seen(jobs={RUN: job()}, runners={RUN: [runner_pod()]}), RUN) == ""
    assert why(Seen(jobs={RUN: complete()}), RUN) == why(Seen(), RUN) == ""


def test_a_cluster_that_does_not_answer_is_asked_once_for_all_runs_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def silent(batch: str) -> Seen:
        asked.append(batch)
        raise SandboxUnavailable("no answer")

    waiting = Waiting(RunnerSettings(), Settings())
    monkeypatch.setattr(waiting, "_look", silent)
    for number in range(200):
        with pytest.raises(SandboxUnavailable, match="no answer"):
            waiting.said_of("b1", f"r{number}")
    assert asked == ["b1"]
