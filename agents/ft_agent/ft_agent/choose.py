"""Numeric selection: a challenger replaces the champion only beyond the noise margin; a tie leaves the champion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ft_agent.plan import Score

# A challenger must lead by this many standard errors of the paired difference: enough not to chase noise, little enough to make
# progress when every step is small. With items of equal difficulty it lets a truly equal challenger through one time in six.
MARGIN_SE = 1.0


@dataclass(frozen=True)
class Comparison:
    """The paired difference challenger − champion over the items both answered."""

    difference: float
    standard_error: float
    items: int
    wins: int
    losses: int

    @property
    def replaces(self) -> bool:
        """Whether the challenger's lead is beyond the margin."""
        return self.items > 0 and self.difference > 0 and self.difference > MARGIN_SE * self.standard_error

    @property
    def undecided(self) -> bool:
        """Whether neither leads beyond the margin."""
        return not self.items or abs(self.difference) <= MARGIN_SE * self.standard_error

    def describe(self) -> str:
        """Say it in words."""
        verdict = "within" if self.undecided else "ahead by more than" if self.replaces else "behind by more than"
        return (
            f"difference {self.difference:+.3f} ± {self.standard_error:.3f} over {self.items} items "
            f"({self.wins} won, {self.losses} lost): {verdict} the margin of {MARGIN_SE:g} standard error"
        )


def compare(challenger: Mapping[str, float], champion: Mapping[str, float]) -> Comparison:
    """Compare two sets of item scores on the items they share.

    The standard error is that of a mean of paired differences; with fewer than two items, or no variation and no difference,
    nothing is shown and the challenger does not replace.
    """
    shared = sorted(set(challenger) & set(champion))
    differences = [challenger[i] - champion[i] for i in shared]
    n = len(differences)
    if n < 2:
        return Comparison(sum(differences), math.inf, n, sum(d > 0 for d in differences), sum(d < 0 for d in differences))
    mean = sum(differences) / n
    variance = sum((d - mean) ** 2 for d in differences) / (n - 1)
    return Comparison(mean, math.sqrt(variance / n), n, sum(d > 0 for d in differences), sum(d < 0 for d in differences))


def compare_on_dev(challenger: Score, champion: Score) -> Comparison:
    """Compare two models on the metered split by the task's own metric; items are won and lost by their scores.

    Where the metric is no mean of item scores, as F1, an item's share in it is its pseudo-value: the feedback gives it.
    """
    if challenger.shares and champion.shares:
        found = compare(challenger.shares, champion.shares)
        plain = compare(challenger.items, champion.items)
        return replace(found, wins=plain.wins, losses=plain.losses)
    return compare(challenger.items, champion.items)
