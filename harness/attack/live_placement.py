"""Attacks from an agent's own sandbox beside the task's: more of the machine than others have (row 41)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from harness.attack.base import Attack, NotStopped, Where, stopped
from harness.attack.ground import Ground
from harness.attack.phase import UnjudgedSite, standing
from harness.sandbox.base import ExecResult, Sandbox, SandboxSpec, not_promised
from harness.sandbox.contract.promise import PATIENCE_S
from harness.spec.agent import AgentConfig, shares
from harness.spec.budget import Budget
from harness.spec.errors import UsageError
from harness.spec.task import Limits

_LIMITS = Limits(cpus=0.5, memory_mb=320, pids=128, disk_mb=128)
_OWN = Limits(cpus=0.25, memory_mb=96, pids=48, disk_mb=48)
_BURN_S = 3.0
_BURN = f"import time\nend = time.monotonic() + {_BURN_S}\nwhile time.monotonic() < end: pass"
# Holds most of what one run may have in memory, in each of two sandboxes.
_HOLD_MB = 200
_HOLD = f"import time\nheld = bytearray({_HOLD_MB} << 20)\nfor at in range(0, len(held), 4096): held[at] = 1\ntime.sleep(3)"
_NAMES = ("cpus", "memory_mb", "pids", "disk_mb", "gpus")


def _in_both(task: Sandbox, agent: Sandbox, program: str) -> list[ExecResult]:
    results: list[ExecResult] = []

    def run(sandbox: Sandbox) -> None:
        results.append(sandbox.exec(["python3", "-I", "-S", "-c", program], timeout_s=PATIENCE_S))

    threads = [threading.Thread(target=run, args=(sandbox,)) for sandbox in (task, agent)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _take_cpu(task: Sandbox, agent: Sandbox) -> str:
    before = task.usage().cpu_s + agent.usage().cpu_s
    started = time.monotonic()
    _in_both(task, agent, _BURN)
    share = (task.usage().cpu_s + agent.usage().cpu_s - before) / (time.monotonic() - started)
    # a period's rest and the start of two interpreters are beside it
    stopped(share < _LIMITS.cpus * 1.4, f"{share:.2f} CPUs of {_LIMITS.cpus}")
    return f"{share:.2f} of {_LIMITS.cpus} CPUs"


def _take_memory(task: Sandbox, agent: Sandbox) -> str:
    held = sum(_HOLD_MB for result in _in_both(task, agent, _HOLD) if result.ok)
    stopped(held <= _LIMITS.memory_mb, f"{held} MB of {_LIMITS.memory_mb}")
    return f"{held} of {_LIMITS.memory_mb} MB"


def _take(ground: Ground, took: Callable[[Sandbox, Sandbox], str], site: type[UnjudgedSite] = UnjudgedSite) -> str:
    config = AgentConfig(name="attacker", command=("true",), placement="own", limits=_OWN)
    with standing(ground, config, {}, limits=_LIMITS, budget=Budget(wall=60), site=site) as phase:
        phase.site.build()
        phase.site.create_sandboxes()
        task, agent = phase.site.attach_sandboxes()
        said = took(task, agent)
        for name in _NAMES:
            both, most = (getattr(task.spec.limits, name) + getattr(agent.spec.limits, name)), getattr(_LIMITS, name)
            stopped(both <= most, f"{name}: {both:g} of {most:g}")
        return said


def _take_more(ground: Ground) -> str:
    said = f"both sandboxes together got {_take(ground, _take_cpu)}"
    if why := not_promised(ground.backend).get("memory"):
        return f"{said}; their shares of memory are limits of each, and how exact they are is not promised: {why}"
    return f"{said} and {_take(ground, _take_memory)}"


class _GivesBothTheirOwn(UnjudgedSite):
    """As it would be if the second sandbox came on top."""

    def create_sandboxes(self) -> None:
        for role in ("task", "agent"):
            self.backend.create(SandboxSpec(self.sandbox_id(role), _LIMITS))


def _take_more_where_it_comes_on_top(ground: Ground) -> str:
    return _take(ground, _take_memory, _GivesBothTheirOwn)


def _take_a_gpu(ground: Ground) -> str:
    """And what leaves the task's sandbox nothing: both are refused before a run is planned."""
    try:
        AgentConfig(name="attacker", command=("true",), placement="own", limits=Limits(gpus=1))
        raise NotStopped("a second GPU")
    except ValueError:
        pass
    for name in ("cpus", "memory_mb", "pids", "disk_mb"):
        greedy = Limits().model_copy(update={name: getattr(_LIMITS, name)})
        try:
            shares(_LIMITS, AgentConfig(name="attacker", command=("true",), placement="own", limits=greedy))
        except UsageError:
            continue
        raise NotStopped(f"all of the task's {name}")
    return "a GPU beside the task's, and all of the task's CPUs, memory, processes and disk, are refused at plan time"


ATTACKS = (
    Attack(
        41, "works-in-two-sandboxes", Where.SANDBOX,
        "burn CPU and hold memory in a sandbox of its own beside the task's",
        "both share what the task gives a run",
        _take_more, _take_more_where_it_comes_on_top,
    ),
    Attack(
        41, "asks-for-more-than-there-is", Where.SANDBOX,
        "ask for a GPU, or all that the task gives, for a sandbox of its own",
        "refused before a run is planned",
        _take_a_gpu,
    ),
)  # fmt: skip
