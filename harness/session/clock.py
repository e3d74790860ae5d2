"""The budget clock of one run: the harness's own time and measurements, never the agent's word."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from harness.sandbox.base import SandboxUsage
from harness.spec.budget import ENDING, Budget, Usage

# Shares of the budget at which the agent and the people watching are told.
WARN_AT = (0.5, 0.8, 0.95)


class BudgetClock:
    """Turns time and sandbox measurements into `Usage`.

    Wall time runs from ``started`` on, also while a crashed harness is being resumed: the sandbox went on working meanwhile.
    Within one process it follows the monotonic clock, so a stepped system clock does not move it.
    """

    def __init__(
        self,
        budget: Budget,
        started: datetime,
        *,
        gpus: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.budget = budget
        self._gpus = gpus
        self._monotonic = monotonic
        self._before = max(0.0, (now() - started).total_seconds())
        self._zero = monotonic()
        self._stopped_at: float | None = None
        self._excused = 0.0

    def elapsed(self) -> float:
        """Return wall seconds on the clock."""
        if self._stopped_at is not None:
            return self._stopped_at
        return max(0.0, self._before + self._monotonic() - self._zero - self._excused)

    def left(self) -> float:
        """Return wall seconds until the deadline, not below 0."""
        return max(0.0, self.budget.wall - self.elapsed())

    def excuse(self, seconds: float) -> bool:
        """Do not charge ``seconds`` in all, for which the agent was kept waiting by no fault of its own; say if that is news."""
        news = seconds != self._excused
        self._excused = seconds
        return news

    def stop(self) -> None:
        """Stop the clock; `elapsed` stays where it is."""
        self._stopped_at = self.elapsed()

    def usage(self, sandboxes: list[SandboxUsage], evaluations: int) -> Usage:
        """Put together what has been spent in every dimension."""
        elapsed = self.elapsed()
        return Usage(
            wall=round(elapsed, 3),
            evaluations=evaluations,
            cpu=round(sum(s.cpu_s for s in sandboxes), 3),
            gpu=round(elapsed * self._gpus, 3),
            disk_mb=round(sum(s.disk_mb for s in sandboxes), 3),
            memory_peak_mb=round(max((s.memory_peak_mb for s in sandboxes), default=0.0), 3),
        )


def new_warnings(budget: Budget, usage: Usage, given: frozenset[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return the (dimension, share) warnings that are due and were not given yet."""
    due = []
    for dimension in Budget.model_fields:
        limit = getattr(budget, dimension)
        if not limit:
            continue
        used = float(getattr(usage, dimension)) / float(limit)
        due += [(dimension, share) for share in WARN_AT if used >= share and (dimension, share) not in given]
    return due


def exhausted(budget: Budget, usage: Usage) -> str | None:
    """Return the dimension whose limit ends the run, or None. The others only refuse what would go beyond (`budget.ENDING`)."""
    spent = (name for name in ENDING if getattr(budget, name) and getattr(usage, name) >= getattr(budget, name))
    return next(spent, None)
