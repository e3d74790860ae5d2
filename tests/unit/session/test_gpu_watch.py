"""What a run's GPUs do is in its events and its result, and a GPU that breaks down is nobody's agent's failure."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.attack.phase import Phase, standing
from harness.sandbox.nvidia.driver import DriverTree, look
from harness.sandbox.nvidia.tenants import Tenant
from harness.sandbox.scripted import ScriptedBackend
from harness.session import gpu_watch
from harness.session.gpu_use import gpu_use, out_of_gpu_memory
from harness.session.gpu_watch import GpuMemory, GpuWatch, require_free
from harness.spec.agent import AgentConfig
from harness.spec.budget import Budget
from harness.spec.errors import SandboxUnavailable
from harness.spec.event import ClockStarted, ClockStopped, EventKind
from harness.spec.outcome import Cause, Outcome
from harness.spec.task import Limits
from tests.unit.sandbox.nvidia.trees import Tree, uuid

FAILED = Outcome(cause=Cause.AGENT_ERROR, phase="agent", message="it ended with exit code 1", exit_code=1)


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend()


@pytest.fixture
def phase(tmp_path: Path, backend: ScriptedBackend) -> Iterator[Phase]:
    ground: Any = SimpleNamespace(backend=backend, folder=lambda: tmp_path)
    config, limits = AgentConfig(name="mine", command=("true",)), Limits(gpus=1)
    with standing(ground, config, {}, limits=limits, budget=Budget(wall=600)) as phase:
        yield phase


@pytest.fixture
def host(tmp_path: Path) -> Tree:
    host = Tree(tmp_path / "host", [0])
    says(host, [37, 1000, 100, 40], [])
    return host


def says(host: Tree, figures: list[Any], apps: list[str]) -> None:
    """Let nvidia-smi print these: utilisation, memory, power, temperature; lines of processes."""
    use, memory, power, warm = figures
    row = f"0, {uuid(0)}, NVIDIA H200, 570.86, Disabled, 00000000:01:00.0, 143771, {memory}, {use}, {power}, {warm}, Default"
    (host.root / "gpus").write_text(row)
    (host.root / "apps").write_text("".join(f"{line}\n" for line in apps))
    host.program("nvidia-smi", f'case "$1" in --query-gpu*) cat {host.root}/gpus;; *) cat {host.root}/apps;; esac')


def watch(phase: Phase, host: Tree, log: str = "", **more: Any) -> GpuWatch:
    path = host.root / "kmsg"
    path.write_text(log)
    return GpuWatch(phase.journal, look(host.tree).gpus, tree=host.tree, log=path, **more)


def xid(number: int, bus: str = "0000:01:00", at_s: float | None = None) -> str:
    at = time.clock_gettime(time.CLOCK_MONOTONIC) + 86_400 if at_s is None else at_s
    return f"3,1,{int(at * 1e6)},-;NVRM: Xid (PCI:{bus}): {number}, pid=1, name=python, words\n"


def test_looks_are_events_and_come_to_means_and_peaks(phase: Phase, host: Tree) -> None:
    phase.journal.emit(ClockStarted())
    watching = watch(phase, host)
    for figures in ([20, 1000, 100, 40], [60, 9000, 300, 71], ["[N/A]", 500, "[N/A]", 50]):
        says(host, figures, [])
        watching.sample()
    (use,) = gpu_use(phase.run)
    assert (use.name, use.samples, use.memory_total_mb) == ("NVIDIA H200", 3, 143771)
    assert (use.utilisation_mean, use.memory_peak_mb, use.power_mean_w, use.temperature_max_c) == (40, 9000, 200, 71)


def test_another_attempt_counts_for_itself(phase: Phase, host: Tree) -> None:
    watching = watch(phase, host)
    watching.sample()
    phase.journal.emit(ClockStarted())
    assert gpu_use(phase.run) == ()


def test_it_looks_by_itself_while_the_agent_works_and_tells_of_strangers(phase: Phase, host: Tree) -> None:
    says(host, [37, 1000, 100, 40], [f"{uuid(0)}, 4242, 777, /usr/bin/somebody"])
    watching = watch(phase, host)
    watching.start()
    deadline = time.monotonic() + 20
    while not phase.of_kind(EventKind.GPU_SAMPLE) and time.monotonic() < deadline:
        time.sleep(0.01)
    watching.stop()
    (told,) = phase.of_kind(EventKind.GPU_HELD)
    assert [(p.pid, p.memory_mb) for p in told.data.others] == [(4242, 777)] and told.data.held == ()  # type: ignore[attr-defined]
    assert phase.of_kind(EventKind.GPU_SAMPLE) and phase.journal.record.gpu_held is None


def test_an_nvidia_smi_that_fails_is_told_once_and_ends_nothing(phase: Phase, host: Tree) -> None:
    host.program("nvidia-smi", "echo broken; exit 9")
    watching = watch(phase, host)
    watching.sample()
    watching.sample()
    (told,) = phase.of_kind(EventKind.ERROR)
    assert "ended with 9: broken" in told.data.message and watching.blamed(FAILED) == FAILED  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("log", "blamed"),
    [
        ("", False),
        (xid(79), True),
        (xid(31), False),  # what an agent's kernel can do itself
        (xid(79, bus="0000:99:00"), False),  # another run's GPU
        (xid(79, at_s=0.001), False),  # long before this run
    ],
    ids=["nothing", "broken", "an agent's own doing", "another run's", "long before"],  # the lines hold the time
)
def test_a_broken_gpu_makes_a_failure_infrastructure_and_nothing_else_does(
    phase: Phase, host: Tree, log: str, blamed: bool
) -> None:
    watching = watch(phase, host, log)
    watching.look_for_faults()
    watching.look_for_faults()
    outcome = watching.blamed(FAILED)
    assert (outcome.cause is Cause.SANDBOX and outcome.retried) == blamed
    told = phase.of_kind(EventKind.GPU_FAULT)
    assert len(told) == (1 if blamed or "31," in log else 0)
    if blamed:
        assert "XID 79 on 0000:01:00, the GPU has fallen off the bus" in outcome.message and outcome.exit_code == 1


def test_an_agent_that_came_to_its_end_is_scored_all_the_same(phase: Phase, host: Tree) -> None:
    watching = watch(phase, host, xid(79))
    watching.look_for_faults()
    done = Outcome(cause=Cause.COMPLETED, phase="agent")
    assert watching.blamed(done) == done


def test_a_gpu_that_nvidia_smi_has_lost_is_infrastructure_too(phase: Phase, host: Tree) -> None:
    host.program("nvidia-smi", "echo 'Unable to determine the device handle for GPU0000:01:00.0: GPU is lost.'; exit 15")
    watching = watch(phase, host)
    watching.sample()
    assert watching.blamed(FAILED).cause is Cause.SANDBOX


@pytest.mark.parametrize("breaks", [False, True])
def test_a_whole_phase_on_a_gpu(
    phase: Phase, host: Tree, backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch, breaks: bool
) -> None:
    """Out of GPU memory is the agent's own end, and said; where the GPU broke down it is not."""
    log = host.root / "kmsg"
    log.write_text(xid(79) if breaks else "")
    gpus = look(host.tree).gpus

    def watching(*args: Any, **kwargs: Any) -> GpuWatch:
        return GpuWatch(*args, **kwargs, tree=host.tree, log=log)

    monkeypatch.setattr(gpu_watch, "gpus_of", lambda *_: gpus)
    monkeypatch.setattr(gpu_watch, "GpuWatch", watching)
    phase.site.build()
    phase.site.create_sandboxes()
    task = backend.sandboxes[phase.site.sandbox_id("task")]
    (phase.run.path / "agent.stderr").write_text("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n")
    task.start(["true"], name="agent")
    task.processes["agent"].end(1)
    outcome = phase.play()
    assert outcome is not None and "it ran out of GPU memory" in outcome.message
    assert outcome.cause is (Cause.SANDBOX if breaks else Cause.AGENT_ERROR)
    assert outcome.retried == breaks and outcome.graded != breaks
    (stopped,) = phase.of_kind(EventKind.CLOCK_STOPPED)
    assert stopped.data.usage["gpu"] > 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("said", "ran_out"),
    [
        (b"RuntimeError: CUDA error: out of memory\n", True),
        (b"CUDA out of memory" + b"." * 70_000, False),  # long ago, and it went on
        (b"MemoryError\n", False),
    ],
)
def test_running_out_of_gpu_memory_is_read_from_the_end_of_what_it_said(tmp_path: Path, said: bytes, ran_out: bool) -> None:
    (tmp_path / "agent.stderr").write_bytes(said)
    assert out_of_gpu_memory(tmp_path / "agent.stderr") == ran_out
    assert not out_of_gpu_memory(tmp_path / "absent")


def ended(phase: Phase, host: Tree, before: list[Tenant], monkeypatch: pytest.MonkeyPatch) -> DriverTree:
    """Let the sandboxes end that had these processes on the GPU."""
    monkeypatch.setattr(gpu_watch, "tenants", lambda *_: before)
    remaining = gpu_watch.remaining
    monkeypatch.setattr(gpu_watch, "remaining", lambda *args: remaining(*args, proc=host.root, patience_s=0))
    phase.journal.emit(ClockStarted())
    phase.journal.emit(ClockStopped())
    GpuMemory(phase.journal, look(host.tree).gpus, ["r1-1-task"], host.tree).tell_what_remains()
    return replace(host.tree)


def test_nothing_is_graded_while_an_ended_sandbox_still_has_gpu_memory(
    phase: Phase, host: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(host, [0, 71234, 100, 40], [f"{uuid(0)}, 60, 71234, python", f"{uuid(0)}, 99, 55, /usr/bin/another"])
    tree = ended(phase, host, [Tenant(60, 0, 71234, "python", True)], monkeypatch)
    found = phase.journal.record.gpu_held
    assert found is not None and [p.pid for p in found.others] == [99]
    with pytest.raises(SandboxUnavailable, match=r"process 60 \(python\) has 71234 MB") as raised:
        require_free(found, tree)
    assert raised.value.death.cause is Cause.SCHEDULING and "nvidia-smi -r" in raised.value.hint
    says(host, [0, 0, 100, 40], [])
    require_free(found, tree)  # it has gone since


def test_anothers_memory_is_told_and_stops_nothing(phase: Phase, host: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    says(host, [0, 55, 100, 40], [f"{uuid(0)}, 99, 55, /usr/bin/another"])
    tree = ended(phase, host, [Tenant(99, 0, 55, "another", False)], monkeypatch)
    require_free(phase.journal.record.gpu_held, tree)
    (told,) = phase.of_kind(EventKind.GPU_HELD)
    assert [(p.pid, p.memory_mb) for p in told.data.others] == [(99, 55)]  # type: ignore[attr-defined]


def test_without_gpus_nothing_is_looked_at(phase: Phase, tmp_path: Path) -> None:
    watching = GpuWatch(phase.journal, (), tree=Tree(tmp_path / "none", []).tree)
    watching.start()
    watching.stop()
    GpuMemory(phase.journal, (), ()).tell_what_remains()
    require_free(None)
    assert list(phase.run.events()) == []


def test_gpus_that_cannot_be_told_now_are_not_watched_and_the_events_say_so(
    phase: Phase, host: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise SandboxUnavailable("nvidia-smi does not tell the MIG instances", hint="wait")

    monkeypatch.setattr(gpu_watch, "held_by", lambda _: {uuid(0)})
    monkeypatch.setattr(gpu_watch, "look", broken)
    assert gpu_watch.gpus_of("run", phase.journal, host.tree) == ()
    (told,) = phase.of_kind(EventKind.ERROR)
    assert "MIG instances" in told.data.message  # type: ignore[attr-defined]
