"""The time left and what each step has been measured to cost. Plans that do not fit are refused here, by code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reading.pace import BudgetClock

# The end of the budget kept for the final submission.
RESERVE_SHARE = 0.05
# Fewer seconds than this leave no room for a slow disk.
RESERVE_MIN_S = 6.0
# Before anything is measured: costs on one CPU core with a 135M model, slow enough to be safe on faster machines.
GUESS = {"evaluate": 25.0, "submit": 2.0, "train_setup": 2.0, "own_score": 8.0, "save": 1.0}
# An evaluation is the grader's work: of processor time it takes the agent's waiting alone.
GUESS_OF_CPU = {**GUESS, "evaluate": 1.0}


class DoesNotFit(Exception):
    """A plan asks for more time than is left. ``needed`` and ``left`` are seconds."""

    def __init__(self, what: str, needed: float, left: float) -> None:
        super().__init__(f"{what} needs {needed:.0f} s, {left:.0f} s are left before the reserve")
        self.needed, self.left = needed, left


class TimeBook:
    """Keeps the harness's count of the tightest dimension and a running mean of what steps cost.

    All seconds are those of the clock: wall seconds where wall time ends the run first, and where CPU- or GPU-seconds do, what
    the same would take on a machine of one's own.

    Attributes:
        clock: counts them.
        costs: step → measured seconds (newest counts half).
    """

    def __init__(self, budget: Mapping[str, Any], *, cores: float = 1.0, clock: BudgetClock | None = None) -> None:
        self.clock = clock or BudgetClock(budget, cores=cores)
        self.costs: dict[str, float] = {}

    @property
    def limit(self) -> float:
        """Seconds of the whole budget."""
        return self.clock.limit

    def sync(self, budget: Mapping[str, Any]) -> None:
        """Take over the harness's own count of what is left."""
        self.clock.sync(budget)

    def left(self) -> float:
        """Seconds until the budget ends."""
        return self.clock.left()

    def reserve(self) -> float:
        """Seconds that nothing but the final submission may use."""
        return max(RESERVE_MIN_S, RESERVE_SHARE * self.limit, 2.0 * self.cost("submit"))

    def usable(self) -> float:
        """Seconds left before the reserve begins."""
        return max(0.0, self.left() - self.reserve())

    def used(self) -> float:
        """Seconds used so far."""
        return self.clock.used()

    def cost(self, step: str) -> float:
        """What a step has cost, or a guess before it was ever done."""
        guess = GUESS_OF_CPU if self.clock.dimension == "cpu" else GUESS
        return self.costs.get(step, guess.get(step, 0.0))

    def record(self, step: str, seconds: float) -> None:
        """Remember what a step cost."""
        known = self.costs.get(step)
        self.costs[step] = seconds if known is None else 0.5 * known + 0.5 * seconds

    def overhead(self, dev: bool) -> float:
        """Seconds an iteration takes beside its training: set-up, saving, own split, and where asked dev split and submission."""
        total = self.cost("train_setup") + self.cost("save") + self.cost("own_score")
        return total + (self.cost("evaluate") + self.cost("submit") if dev else 0.0)

    def require(self, what: str, seconds: float, dev: bool) -> None:
        """Refuse what does not fit.

        Raises:
            DoesNotFit: training seconds and overhead exceed what is usable.
        """
        needed = seconds + self.overhead(dev)
        if needed > self.usable():
            raise DoesNotFit(what, needed, self.usable())
