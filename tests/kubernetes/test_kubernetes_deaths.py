"""Real deaths of pods, and what a run of theirs ends as; tests/unit/sandbox/kubernetes has the table of all."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.attack.live_endings import FILL_WITHOUT_A_PROCESS
from harness.attack.phase import Phase, standing
from harness.sandbox.contract import Stage
from harness.sandbox.kubernetes import KubernetesBackend, cluster
from harness.sandbox.kubernetes.identity import pod_name
from harness.session.agent_phase import AgentPhase
from harness.spec.agent import AgentConfig
from harness.spec.budget import Budget
from harness.spec.errors import SandboxUnavailable
from harness.spec.event import ClockStarted
from harness.spec.outcome import Cause, Death
from harness.spec.task import Limits

pytestmark = pytest.mark.slow


def death_in(phase: Phase, deed: Any) -> Death:
    """Return why a phase was ended whose pod ``deed`` does something to."""
    threading.Timer(1.0, deed).start()
    with pytest.raises(SandboxUnavailable) as raised:
        phase.play()
    return raised.value.death


@pytest.fixture
def sleeping(stage: Stage, tmp_path: Path) -> Any:
    """A phase whose agent does nothing."""
    ground: Any = SimpleNamespace(backend=KubernetesBackend(), folder=lambda: tmp_path)
    config = AgentConfig(name="mine", command=("sleep", "600"))
    with standing(ground, config, {}, limits=Limits(cpus=1, memory_mb=256, disk_mb=64), budget=Budget(wall=300)) as phase:
        phase.site.build()
        phase.site.create_sandboxes()
        yield phase


def name_of(phase: Phase) -> str:
    return str(phase.site.attach_sandboxes()[0]._host.name)  # type: ignore[attr-defined]


def test_a_pod_that_somebody_deletes_was_taken_away(sleeping: Phase) -> None:
    name = name_of(sleeping)
    death = death_in(sleeping, lambda: cluster.core().delete_namespaced_pod(name, "dojo-sandboxes"))
    assert death.cause is Cause.EVICTED and "deleted" in death.text


def test_a_pod_whose_server_was_ended_by_somebody_else_is_the_infrastructures(sleeping: Phase) -> None:
    """By root from outside: nobody inside can. What was killed for memory before would make it the agent's."""
    from kubernetes.client import ApiClient, CoreV1Api
    from kubernetes.stream import stream

    name, program = name_of(sleeping), "import os, signal; os.kill(int(open('/proc/1/task/1/children').read().split()[0]), 9)"

    def kill() -> None:
        call = CoreV1Api(ApiClient()).connect_get_namespaced_pod_exec  # a client of its own, which `stream` spoils for others
        stream(call, name, "dojo-sandboxes", container="main", command=["python3", "-c", program], stdout=True, stderr=True)

    death = death_in(sleeping, kill)
    assert death.cause is Cause.SANDBOX and "container main ended: Error, exit code 1" in death.text


def test_a_pod_that_ran_out_of_memory_while_nobody_watched_is_the_agents_own_end(sleeping: Phase) -> None:
    task, _ = sleeping.site.attach_sandboxes()
    with pytest.raises(SandboxUnavailable):
        for number in range(20):
            task.exec(["python3", "-c", FILL_WITHOUT_A_PROCESS], timeout_s=60)
            task.write_file(f"/tmp/{number}", bytes(10 << 20))  # commands are killed first, and then are none
    sleeping.journal.emit(ClockStarted())
    with pytest.raises(SandboxUnavailable) as raised:
        AgentPhase(sleeping.site, sleeping.journal, threading.Event(), lambda: False)
    assert raised.value.death.cause is Cause.AGENT_ERROR and "OOMKilled" in raised.value.death.text


def test_a_pod_made_again_under_the_name_of_one_that_was_just_deleted_comes_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kubelet still knows the one before, and what it was shown: with that no door opens to us."""
    monkeypatch.setenv("DOJO_K8S_START", "60")
    spec = stage.spec()
    for _ in range(4):
        sandbox = stage.backend.create(spec)
        assert sandbox.exec(["true"]).ok
        cluster.core().delete_namespaced_pod(pod_name(spec.id), "dojo-sandboxes", grace_period_seconds=0)
        sandbox.close()
