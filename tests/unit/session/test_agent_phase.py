"""How an agent phase ends, over scripted sandboxes; harness/attack plays it in real ones."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.attack.phase import Phase, standing
from harness.sandbox.base import SandboxUsage
from harness.sandbox.scripted import ScriptedBackend, ScriptedSandbox
from harness.session.agent_phase import AgentPhase, how_it_ended
from harness.spec.agent import AgentConfig
from harness.spec.budget import Budget
from harness.spec.errors import SandboxError, SandboxUnavailable
from harness.spec.event import EventKind, Submitted
from harness.spec.outcome import Cause
from harness.spec.task import Limits


class Played:
    """A phase that is about to begin, and its sandboxes."""

    def __init__(self, phase: Phase, backend: ScriptedBackend) -> None:
        self.phase = phase
        phase.site.build()
        phase.site.create_sandboxes()
        self.task, *rest = [backend.sandboxes[phase.site.sandbox_id(role)] for role in phase.site.spec.shares]
        self.agent: ScriptedSandbox = rest[0] if rest else self.task

    def spend(self, sandbox: ScriptedSandbox, cpu_s: float) -> None:
        sandbox.used = SandboxUsage(cpu_s, 0.0, 0.0)

    @property
    def stopped(self) -> Any:
        (event,) = self.phase.of_kind(EventKind.CLOCK_STOPPED)
        return event.data


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend()


@pytest.fixture(params=["task", "own"])
def played(request: pytest.FixtureRequest, tmp_path: Path, backend: ScriptedBackend) -> Iterator[Played]:
    config = AgentConfig(name="mine", command=("true",), placement=request.param, params={"x": 1}, env={"PYTHONPATH": "/agent"})
    ground: Any = SimpleNamespace(backend=backend, folder=lambda: tmp_path)
    with standing(ground, config, {}, limits=Limits(), budget=Budget(wall=600, cpu=2)) as phase:
        yield Played(phase, backend)


def test_an_agent_that_ends_without_handing_in_has_failed(played: Played) -> None:
    played.agent.start(["true"], name="agent")
    played.agent.processes["agent"].end(0)
    outcome = played.phase.play()
    assert outcome is not None and outcome.cause is Cause.AGENT_ERROR and "without handing" in outcome.message


def test_what_was_under_way_when_its_program_ended_is_handed_in(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    played.agent.start(["true"], name="agent")
    played.agent.processes["agent"].end(0)
    service = played.phase.site.services[0]
    close = service.close

    def close_when_it_has_come() -> None:
        close()
        if not played.phase.journal.record.submissions:
            played.phase.journal.emit(Submitted(submission=1, key="k", digest="d", note="", answer={}))

    monkeypatch.setattr(service, "close", close_when_it_has_come)
    outcome = played.phase.play()
    assert outcome is not None and outcome.cause is Cause.COMPLETED


@pytest.mark.parametrize("where", ["the agent's", "the task's"])
def test_a_sandbox_that_its_agent_ended_is_the_agents_own_end(played: Played, where: str) -> None:
    """As one that runs a pod out of memory; it is noticed too where the agent lives on in a sandbox of its own."""
    phase = AgentPhase(played.phase.site, played.phase.journal, threading.Event(), lambda: False)
    (played.agent if where == "the agent's" else played.task).die(Cause.AGENT_ERROR, "its pod was ended for memory")
    outcome = phase.run()
    assert outcome is not None and outcome.cause is Cause.AGENT_ERROR and outcome.message == "its pod was ended for memory"
    assert outcome.graded and not outcome.retried
    assert len(played.phase.of_kind(EventKind.CLOCK_STOPPED)) == 1


@pytest.mark.parametrize("cause", [Cause.SANDBOX, Cause.EVICTED])
def test_a_sandbox_that_another_ended_is_no_end_of_the_agents(played: Played, cause: Cause) -> None:
    """Also not where its program has ended just because the other sandbox, which it works in, was gone."""
    phase = AgentPhase(played.phase.site, played.phase.journal, threading.Event(), lambda: False)
    played.task.die(cause)
    if played.agent is not played.task:
        played.agent.start(["true"], name="agent")
        played.agent.processes["agent"].end(1)
    with pytest.raises(SandboxUnavailable) as raised:
        phase.run()
    assert raised.value.death.cause is cause


def require_dead(sandbox: ScriptedSandbox) -> None:
    assert all(process.exit_code is not None for process in sandbox.processes.values())
    with pytest.raises(SandboxError, match="deadline"):
        sandbox.start(["true"])


def test_when_the_cpu_budget_is_spent_nothing_of_the_agent_runs_or_starts_any_more(played: Played) -> None:
    played.spend(played.task, 1.2)
    played.spend(played.agent, 1.2 if played.agent is not played.task else 2.1)
    left_behind = played.task.start(["sleep", "9"])
    outcome = played.phase.play()
    assert outcome is not None and outcome.cause is Cause.AGENT_BUDGET and "cpu" in outcome.message
    assert played.task.processes[left_behind].exit_code == 137
    require_dead(played.task)
    require_dead(played.agent)
    assert played.stopped.overshoot_s is not None and 0 <= played.stopped.overshoot_s < 60
    assert played.stopped.usage["cpu"] == pytest.approx(2.4 if played.agent is not played.task else 2.1)


def test_a_harness_that_is_asked_to_leave_lets_the_agent_live(played: Played) -> None:
    stop = threading.Event()
    stop.set()
    assert AgentPhase(played.phase.site, played.phase.journal, stop, lambda: False).run() is None
    assert played.agent.processes["agent"].exit_code is None
    assert not played.phase.of_kind(EventKind.CLOCK_STOPPED)


@pytest.mark.parametrize(("gpus", "ends_s"), [(0, 600), (1, 600), (4, 250)])
def test_the_sandbox_keeps_the_budget_that_is_time_without_a_harness(
    tmp_path: Path, backend: ScriptedBackend, gpus: int, ends_s: int
) -> None:
    ground: Any = SimpleNamespace(backend=backend, folder=lambda: tmp_path)
    config, budget = AgentConfig(name="mine", command=("true",)), Budget(wall=600, gpu=1000)
    with standing(ground, config, {}, limits=Limits(gpus=gpus), budget=budget) as phase:
        played, stop = Played(phase, backend), threading.Event()
        stop.set()
        assert AgentPhase(phase.site, phase.journal, stop, lambda: False).run() is None
        agent = played.agent.processes["agent"]
        played.agent.pass_time(ends_s - 60)
        assert agent.exit_code is None
        played.agent.pass_time(60)
        assert agent.exit_code is not None and agent.deadline
        outcome = phase.play()
        assert outcome is not None and outcome.cause is Cause.AGENT_BUDGET


def test_a_cancelled_agent_dies_at_once(played: Played) -> None:
    outcome = AgentPhase(played.phase.site, played.phase.journal, threading.Event(), lambda: True).run()
    assert outcome is not None and outcome.cause is Cause.CANCELLED
    require_dead(played.agent)


def test_what_agent_toml_says_reaches_the_agents_own_process_alone(played: Played, backend: ScriptedBackend) -> None:
    played.spend(played.agent, 2.1)
    played.phase.play()
    call = played.agent.processes["agent"].call
    assert call.env == {"DOJO_AGENT_PARAMS": '{"x": 1}', "PYTHONPATH": "/agent"}
    for spec in backend.created:
        assert "DOJO_TOKEN" in spec.env and "PYTHONPATH" not in spec.env and "DOJO_AGENT_PARAMS" not in spec.env


def test_both_sandboxes_together_have_what_the_task_gives(played: Played, backend: ScriptedBackend) -> None:
    for name in ("cpus", "memory_mb", "pids", "disk_mb", "gpus"):
        assert sum(getattr(spec.limits, name) for spec in backend.created) == getattr(Limits(), name)


@pytest.mark.parametrize(
    ("exit_code", "started", "said"),
    [
        (1, True, "ended with exit code 1"),
        (126, True, "exit code 126, as shells do where a command cannot be executed"),
        (127, True, "exit code 127, as shells do where a command is not found"),
        (126, False, "did not start: it is there and cannot be executed (exit code 126; `dojo logs --agent` shows its name)"),
        (127, False, "did not start: it is not there, or its first line names an interpreter that is not (exit code 127"),
        (137, True, "exit code 137: SIGKILL ended it"),
        (139, True, "exit code 139: SIGSEGV ended it"),
        (250, True, "exit code 250"),
    ],
)
def test_an_exit_code_is_told_by_its_meaning(exit_code: int, started: bool, said: str) -> None:
    told = how_it_ended(exit_code, started)
    assert said in told and told.startswith("the agent program ")
    if exit_code in (1, 250):
        assert told.endswith(said)
