"""Successive halving over plans: who is tried first, for how long, and who goes on. Pure functions; the loop does the training."""

from __future__ import annotations

from collections.abc import Sequence

from ft_agent.plan import Plan


def order(plans: Sequence[Plan], overhead: float) -> tuple[Plan, ...]:
    """Return the plans with the most expected gain a second first; among equals the shorter, then as they came.

    Args:
        plans: what is proposed.
        overhead: seconds that trying one costs beside its training.
    """

    def seconds(plan: Plan) -> float:
        return max(1.0, plan.seconds + overhead)

    return tuple(sorted(plans, key=lambda p: (-p.expected_gain / seconds(p), seconds(p))))
