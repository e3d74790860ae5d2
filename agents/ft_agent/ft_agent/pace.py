"""How fast and how far: the learning rate follows the clock, and loss and reward are watched for NaN and divergence."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from reading.pace import Progress, Stint

# What a stint is measured by: the wall clock, or the processor time of the training process with all its threads. On a machine
# shared with others the latter says what a run has cost whoever else is at work.
Clock = Literal["wall", "cpu"]

# Loss this far above its best smoothed value means the run has diverged: no ordinary noise of a small batch reaches it.
DIVERGED_FACTOR, DIVERGED_PLUS = 2.0, 1.5
SMOOTHING = 0.8
# Before so many steps the smoothed loss is still that of the first batch.
SETTLED_STEPS = 5
# A smoothed reward that has fallen to this share of its best has collapsed; below `REWARD_WORTH` there is nothing to lose yet.
COLLAPSED_SHARE, REWARD_WORTH = 0.4, 0.25
# The rate never falls to nothing while steps are taken: a step at rate 0 is time lost.
LEAST_RATE = 1e-4


@dataclass
class Pace:
    """Progress by the clock (or by steps where ``max_steps`` is given), and the rate that belongs to it.

    The rate rises from ``start`` to 1 over the share ``warm`` of the run, then falls in a line to ``end``; it is the factor on
    the learning rate. Following the clock it has come down when the time is up, on a fast machine and on a slow one.

    Attributes:
        stint: how long the run is, by which clock, and how long at most by the wall.
        agree: several processes of one run take the share of the first, so that all step at the same rate and stop together.
        wall: monotonic seconds; tests give their own.
        cpu: seconds of processor time; likewise.
    """

    stint: Stint
    max_steps: int | None
    start: float
    warm: float
    end: float
    agree: Callable[[float], float] = float
    wall: Callable[[], float] = time.monotonic
    cpu: Callable[[], float] = time.process_time
    steps: int = 0
    _progress: Progress = field(init=False)
    _begun: float = field(init=False)

    def __post_init__(self) -> None:
        self._progress, self._begun = Progress(self.stint, self.wall, self.cpu), self._now()

    def used(self) -> float:
        """Return the seconds used so far, by the clock the run is paced by."""
        return self._now() - self._begun

    def share(self) -> float:
        """Return how much of the run is done, 0 to 1."""
        done = self._progress.share()
        return self.agree(min(1.0, max(done, self.steps / self.max_steps)) if self.max_steps else done)

    def _now(self) -> float:
        return self.cpu() if self.stint["clock"] == "cpu" else self.wall()

    def rate(self) -> float:
        """Return the factor on the learning rate now."""
        done = self.share()
        if done < self.warm:
            return max(LEAST_RATE, self.start + (1.0 - self.start) * done / self.warm)
        return max(LEAST_RATE, 1.0 - (1.0 - self.end) * (done - self.warm) / max(1e-9, 1.0 - self.warm))


@dataclass
class LossWatch:
    """Sees every loss; says when to stop."""

    smooth: float | None = None
    best: float = math.inf
    seen: int = 0

    def see(self, loss: float, gradient: float) -> str | None:
        """Return ``nan`` or ``diverged`` where training should stop, else None."""
        if not (math.isfinite(loss) and math.isfinite(gradient)):
            return "nan"
        self.seen += 1
        self.smooth = loss if self.smooth is None else SMOOTHING * self.smooth + (1 - SMOOTHING) * loss
        self.best = min(self.best, self.smooth)
        settled = self.seen > SETTLED_STEPS
        return "diverged" if settled and self.smooth > DIVERGED_FACTOR * self.best + DIVERGED_PLUS else None


@dataclass
class RewardWatch:
    """Sees every loss and reward of a run that learns from rewards; says when to stop.

    Such a loss goes up and down around nothing and tells little; a run has diverged when the reward is lost again.
    """

    smooth: float | None = None
    best: float = -math.inf
    seen: int = 0

    def see(self, loss: float, gradient: float, reward: float) -> str | None:
        """Return ``nan`` or ``diverged`` where training should stop, else None."""
        if not (math.isfinite(loss) and math.isfinite(gradient)):
            return "nan"
        self.seen += 1
        self.smooth = reward if self.smooth is None else SMOOTHING * self.smooth + (1 - SMOOTHING) * reward
        if self.seen > SETTLED_STEPS:
            self.best = max(self.best, self.smooth)
        return "diverged" if self.best > REWARD_WORTH and self.smooth < COLLAPSED_SHARE * self.best else None
