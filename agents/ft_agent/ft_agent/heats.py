"""Several plans proposed at once: short probes of each, the best one goes on. A single guess is probed before it is exploited.

A heat is a fold over the history: its plans are in the journal (record ``heat``), its probes are the iterations since. So a run that
was cut off in the middle of a heat goes on with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ft_agent.choose import compare
from ft_agent.halving import order
from ft_agent.history import History
from ft_agent.offline import fit_batch, probe_seconds, sized
from ft_agent.plan import Iteration, Plan
from ft_agent.view import View


def needs_heat(plans: Sequence[Plan], view: View) -> bool:
    """Whether plans must be probed first: several compete, or the only one is a guess that asks for a full training."""
    if len(plans) > 1:
        return room_for(plans, view) >= 2
    return len(plans) == 1 and is_guess(plans[0]) and room_for(plans, view) >= 1


def is_guess(plan: Plan) -> bool:
    """Whether nothing measured speaks for an expensive plan of a language model."""
    return plan.author != "offline" and plan.phase != "probe" and plan.method != "average" and not plan.evidence


def room_for(plans: Sequence[Plan], view: View) -> int:
    """How many of the plans can be probed with as much time again left for the winner."""
    each = probe_seconds(view) + view.costs["overhead_own"]
    return min(len(plans), int(0.5 * (view.usable - view.costs["overhead_dev"]) / each))


def entered(plans: Sequence[Plan], view: View) -> tuple[Plan, ...]:
    """Return the plans that take part, the most gain a second first."""
    ranked = order(plans, view.costs["overhead_own"])
    return tuple(ranked[: max(1, room_for(plans, view))])


def next_in_heat(history: History, view: View) -> Plan | None:
    """Return what the open heat asks for now: the next probe, the winner's training, or None: it is over."""
    plans = history.heat
    done = [i for i in history.iterations if i.number >= history.heat_from]
    if not plans or len(done) > len(plans):
        return None
    if len(done) < len(plans):
        return fit_batch(as_probe(plans[len(done)], probe_seconds(view)), view)
    best = winner(done, history)
    if best is None:
        return None
    asked = plans[done.index(best)]
    if asked.phase == "probe":
        return None
    final = replace(
        asked,
        parent=best.number,
        evidence=asked.evidence or f"probe {best.number} was the best of {len(plans)}",
        reason=f"{asked.reason}; probe {best.number} led its heat",
    )
    given = sized(final, view, min(view.usable, max(asked.seconds, probe_seconds(view))))
    return fit_batch(given, view) if given else None


def as_probe(plan: Plan, seconds: float) -> Plan:
    """Return the plan as a short training of its own, measured on the own split only."""
    if plan.phase == "probe":
        return replace(plan, seconds=seconds, measure="own")
    return replace(plan, phase="probe", seconds=seconds, parent=None, measure="own", knob=f"probe of {plan.knob}")


def winner(done: Sequence[Iteration], history: History) -> Iteration | None:
    """Return the best probe of the heat, unless an earlier probe is better than it beyond the noise."""
    scored = [i for i in done if i.own and i.own.credit]
    if not scored:
        return None
    best = max(scored, key=lambda i: (_credit(i), -i.number))
    earlier = [i for i in history.iterations if i.number < done[0].number and i.plan.phase == "probe" and i.own]
    for other in earlier:
        if other.own and best.own and compare(other.own.credit, best.own.credit).replaces:
            return None
    return best


def _credit(iteration: Iteration) -> float:
    assert iteration.own is not None
    return sum(iteration.own.credit.values()) / len(iteration.own.credit)
