"""The time left and what each step has been measured to cost. Plans that do not fit are refused here, by code."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

# The end of the budget kept for the final submission.
RESERVE_SHARE = 0.05
# Fewer seconds than this leave no room for a slow disk.
RESERVE_MIN_S = 6.0
# Before anything is measured: costs on one CPU core with a 135M model, slow enough to be safe on faster machines.
GUESS = {"evaluate": 25.0, "submit": 2.0, "train_setup": 2.0, "own_score": 8.0, "save": 1.0}


class DoesNotFit(Exception):
    """A plan asks for more time than is left. ``needed`` and ``left`` are seconds."""

    def __init__(self, what: str, needed: float, left: float) -> None:
        super().__init__(f"{what} needs {needed:.0f} s, {left:.0f} s are left before the reserve")
        self.needed, self.left = needed, left


@dataclass
class TimeBook:
    """Keeps the harness's clock (read through the API now and then) and a running mean of what steps cost.

    Attributes:
        limit: seconds of the whole budget.
        costs: step → measured seconds (newest counts half).
        clock: monotonic seconds; tests give their own.
    """

    limit: float
    left_at_sync: float
    clock: Callable[[], float] = time.monotonic
    costs: dict[str, float] = field(default_factory=dict)
    synced: float = field(init=False)

    def __post_init__(self) -> None:
        self.synced = self.clock()

    def sync(self, budget: dict[str, Any]) -> None:
        """Take over the harness's own count of the time left."""
        wall = budget["wall"]
        if wall.get("left") is not None:
            self.left_at_sync, self.synced = float(wall["left"]), self.clock()

    def left(self) -> float:
        """Seconds until the budget ends."""
        return max(0.0, self.left_at_sync - (self.clock() - self.synced))

    def reserve(self) -> float:
        """Seconds that nothing but the final submission may use."""
        return max(RESERVE_MIN_S, RESERVE_SHARE * self.limit, 2.0 * self.cost("submit"))

    def usable(self) -> float:
        """Seconds left before the reserve begins."""
        return max(0.0, self.left() - self.reserve())

    def used(self) -> float:
        """Seconds used so far."""
        return self.limit - self.left()

    def cost(self, step: str) -> float:
        """What a step has cost, or a guess before it was ever done."""
        return self.costs.get(step, GUESS.get(step, 0.0))

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
