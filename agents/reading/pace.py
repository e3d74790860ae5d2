"""The time a run has left by whichever of wall, CPU- and GPU-seconds ends it first, and how a training process follows it.

On a quiet machine a core does a CPU-second each second, so every dimension can be written in seconds of wall time at full speed.
Paced by that, an agent does the same work whether it has its cores to itself or shares them: it only takes longer.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

Dimension = Literal["wall", "cpu", "gpu"]


class Stint(TypedDict):
    """How long a training process works: so many ``seconds`` of its ``clock``, and no more than ``wall_at_most`` of wall time."""

    clock: Literal["wall", "cpu"]
    seconds: float
    wall_at_most: float


@dataclass(frozen=True)
class _Count:
    """One reading of the harness's count, with what the own clocks showed at that moment."""

    left: Mapping[Dimension, float]
    limits: Mapping[Dimension, float]
    wall: float
    cpu: float


class BudgetClock:
    """Seconds left and used, by the dimension that ends the run first.

    Between two readings of the harness's count (`sync`) the own clocks count on, so asking costs nothing. A reading replaces the
    whole state at once: threads may share a clock.

    Args:
        budget: the answer of ``GET /v1/budget``.
        cores: CPU cores that work at full speed, as in the task's limits.
        gpus: GPUs held, as in the task's limits.
        wall: monotonic seconds; tests give their own.
        cpu: CPU-seconds that this run has used; tests give their own.

    Raises:
        ValueError: nothing limits the time, or the machine has no core.
    """

    def __init__(
        self,
        budget: Mapping[str, Any],
        *,
        cores: float,
        gpus: int = 0,
        wall: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] | None = None,
    ) -> None:
        if not cores > 0:
            raise ValueError(f"cores is {cores!r}: give the cores that work at full speed, as `limits.cpus` of the task has them")
        self._rate: Mapping[Dimension, float] = {"wall": 1.0, "cpu": float(cores), "gpu": float(max(1, gpus))}
        self._wall, self._cpu = wall, cpu or CpuOfTree()
        self.sync(budget)

    def sync(self, budget: Mapping[str, Any]) -> None:
        """Take over the harness's own count.

        Raises:
            ValueError: nothing limits the time.
        """
        lines = {name: budget.get(name) or {} for name in self._rate}
        limits = {name: float(line["limit"]) / self._rate[name] for name, line in lines.items() if line.get("limit") is not None}
        if not limits:
            raise ValueError(f"the budget limits no time among {', '.join(self._rate)}: it has {sorted(budget)}")
        left = {name: float(lines[name]["left"]) / self._rate[name] for name in limits}
        self._count = _Count(left, limits, self._wall(), self._cpu())

    @property
    def dimension(self) -> Dimension:
        """What ends the run first at full speed."""
        left = self._lefts()
        return min(left, key=lambda name: left[name])

    @property
    def limit(self) -> float:
        """Seconds of the whole run at full speed."""
        return min(self._count.limits.values())

    def left(self) -> float:
        """Seconds until the run ends at full speed, not below 0; on a loaded machine they may last longer."""
        return max(0.0, min(self._lefts().values()))

    def slack(self) -> float:
        """Return the wall seconds beyond what is `left`: so long may be waited without costing work."""
        return max(0.0, self._lefts().get("wall", math.inf) - self.left())

    def used(self) -> float:
        """Seconds of `limit` that are gone."""
        return max(0.0, self.limit - self.left())

    def stint(self, seconds: float) -> Stint:
        """Return what a training process is told so that it takes ``seconds`` of what is `left`.

        Its share of the wall time is bounded alike: what comes after it keeps its own share, however slow the machine.
        """
        left, dimension = self._lefts(), self.dimension
        seconds = max(0.0, min(seconds, left[dimension]))
        wall = left.get("wall", math.inf)
        if dimension != "cpu":
            return {"clock": "wall", "seconds": seconds, "wall_at_most": min(seconds, max(0.0, wall))}
        share = seconds / left["cpu"] if left["cpu"] > 0 else 0.0
        # no limit on wall time leaves nothing to bound: a finite number says so in JSON as well
        at_most = share * wall if math.isfinite(wall) else 1e9
        return {"clock": "cpu", "seconds": seconds * self._rate["cpu"], "wall_at_most": max(0.0, at_most)}

    def _lefts(self) -> dict[Dimension, float]:
        """Return the seconds left in each limited dimension, at full speed."""
        count = self._count
        wall, cpu = self._wall() - count.wall, max(0.0, self._cpu() - count.cpu)
        spent: Mapping[Dimension, float] = {"wall": wall, "cpu": cpu / self._rate["cpu"], "gpu": wall}
        return {name: left - spent[name] for name, left in count.left.items()}


@dataclass
class Progress:
    """How much of a stint is done, asked in the process that does the work."""

    stint: Stint
    wall: Callable[[], float] = time.monotonic
    cpu: Callable[[], float] = time.process_time
    _begun: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        self._begun = (self.wall(), self.cpu())

    def share(self) -> float:
        """Return the share of the stint that is done, 0 to 1; 1 also where the wall time is over."""
        wall, cpu = self.wall() - self._begun[0], self.cpu() - self._begun[1]
        done = (cpu if self.stint["clock"] == "cpu" else wall) / max(1e-9, self.stint["seconds"])
        return min(1.0, max(done, wall / max(1e-9, self.stint["wall_at_most"])))

    def left(self) -> float:
        """Return the seconds of the stint's clock that are left."""
        return self.stint["seconds"] * (1.0 - self.share())


class CpuOfTree:
    """CPU-seconds of this process and everything below it, those that have ended included. Never falls.

    What a process that nobody waited for has used is lost with it, as is a tree that has left this one; the harness counts them.
    """

    def __init__(self) -> None:
        self._most = 0.0

    def __call__(self) -> float:
        """Return the seconds."""
        own = os.times()
        seconds = own.user + own.system + own.children_user + own.children_system
        waiting = _children(os.getpid())
        for pid in waiting:  # grows while it is read
            seconds += _cpu_of(pid)
            waiting.extend(child for child in _children(pid) if child not in waiting)
        self._most = max(self._most, seconds)
        return self._most


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:  # it has ended meanwhile, or this system lists no children: then the harness's count stands alone
        return found
    return found


def _cpu_of(pid: int) -> float:
    """Return the CPU-seconds of ``pid`` and of its ended children, 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")
