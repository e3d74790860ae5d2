"""How fast and how far: the learning rate follows the clock, and the loss is watched for NaN and divergence."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

# Loss this far above its best smoothed value means the run has diverged: no ordinary noise of a small batch reaches it.
DIVERGED_FACTOR, DIVERGED_PLUS = 2.0, 1.5
SMOOTHING = 0.8
# Before so many steps the smoothed loss is still that of the first batch.
SETTLED_STEPS = 5
# The rate never falls to nothing while steps are taken: a step at rate 0 is time lost.
LEAST_RATE = 1e-4


@dataclass
class Pace:
    """Progress by the clock (or by steps where ``max_steps`` is given), and the rate that belongs to it.

    The rate rises from ``start`` to 1 over the share ``warm`` of the run, then falls in a line to ``end``; it is the factor on
    the learning rate. Following the clock it has come down when the time is up, on a fast machine and on a slow one.
    """

    seconds: float
    max_steps: int | None
    start: float
    warm: float
    end: float
    clock: Callable[[], float] = time.monotonic
    steps: int = 0
    begun: float = field(init=False)

    def __post_init__(self) -> None:
        self.begun = self.clock()

    def share(self) -> float:
        """Return how much of the run is done, 0 to 1."""
        by_clock = (self.clock() - self.begun) / self.seconds
        return min(1.0, max(by_clock, self.steps / self.max_steps) if self.max_steps else by_clock)

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
