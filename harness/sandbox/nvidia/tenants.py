"""Who has memory on GPUs: processes of certain sandboxes, or others. Asked before sandboxes end, and after."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.sandbox.nvidia.smi import Smi
from harness.sandbox.runtime import runtime_root

# The driver lets go of a killed process's memory within a second or two; of 140 GB shared with other processes within ten.
_PATIENCE_S, _LOOK_EVERY_S = 20.0, 0.5


@dataclass(frozen=True)
class Tenant:
    """A process on a GPU. ``started`` (clock ticks after boot) tells it from a later one of the same number; 0: gone."""

    pid: int
    started: int
    memory_mb: float | None
    name: str
    inside: bool


def tenants(cards: Sequence[str], sandboxes: Sequence[str], smi: Smi, proc: Path = Path("/proc")) -> list[Tenant]:
    """Return who has memory on the GPUs ``cards``; ``inside`` says whether it is a process of one of these sandboxes.

    Raises:
        MissingError, SandboxError: nvidia-smi does not say.
    """
    if not cards:
        return []
    firsts = _first_processes(sandboxes)
    return [
        Tenant(p.pid, _started(p.pid, proc), p.memory_mb, p.name, _inside(p.pid, sandboxes, firsts, proc))
        for p in smi.processes(cards)
    ]


def remaining(
    before: Sequence[Tenant], cards: Sequence[str], smi: Smi, proc: Path = Path("/proc"), patience_s: float = _PATIENCE_S
) -> tuple[list[Tenant], list[Tenant]]:
    """Wait until processes of ended sandboxes have let go of the GPUs; return (those that have not, processes of others).

    Args:
        before: who was there while the sandboxes lived, see `tenants`.
        cards: the GPUs, as nvidia-smi calls them.
        smi: the program.
        proc: the kernel's view of processes.
        patience_s: how long to wait for the driver.

    Raises:
        MissingError, SandboxError: nvidia-smi does not say.
    """
    ours = {(tenant.pid, tenant.started) for tenant in before if tenant.inside}
    deadline = time.monotonic() + patience_s
    while True:
        now = tenants(cards, (), smi, proc)
        # the driver may name a process that the kernel has no more: its memory is what counts
        held = [t for t in now if (t.pid, t.started) in ours or (not t.started and t.pid in {pid for pid, _ in ours})]
        if not held or time.monotonic() >= deadline:
            return held, [tenant for tenant in now if tenant not in held]
        time.sleep(_LOOK_EVERY_S)


def _first_processes(sandboxes: Sequence[str]) -> set[int]:
    """Return the numbers on the host of the sandboxes' first processes, where they are the host's."""
    files = [path for id in sandboxes for path in runtime_root().glob(f"*/{id}/init")]
    return {json.loads(path.read_text())["pid"] for path in files}


def _inside(pid: int, sandboxes: Sequence[str], firsts: set[int], proc: Path) -> bool:
    """Whether its control group bears a sandbox's name, or it descends from a first process of one."""
    if not sandboxes:
        return False
    groups = {part for line in _text(proc / str(pid) / "cgroup").splitlines() for part in line.split("/")}
    if groups & set(sandboxes):
        return True
    while pid > 1:
        if pid in firsts:
            return True
        pid = _field(pid, 1, proc)
    return False


def _started(pid: int, proc: Path) -> int:
    return _field(pid, 19, proc)


def _field(pid: int, number: int, proc: Path) -> int:
    """Return a field of stat after the program's name: 1 is the parent, 19 the start. 0 where the process is gone."""
    fields = _text(proc / str(pid) / "stat").rpartition(")")[2].split()
    return int(fields[number]) if len(fields) > number else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
