"""Several plans proposed at once compete in rounds of short trainings; a single guess is probed before it is exploited.

A heat is a fold over the history: its plans and rounds are in the journal (record ``heat``), its trainings are the iterations
since. So a run that was cut off in the middle of a heat goes on with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ft_agent.choose import compare
from ft_agent.effects import difference_noise, repeat_noise
from ft_agent.halving import Result, Rung, next_entry, order, rungs
from ft_agent.history import History
from ft_agent.offline import fit_batch, probe_seconds, sized
from ft_agent.plan import Heat, Iteration, Plan
from ft_agent.view import View


def open_heat(plans: Sequence[Plan], view: View) -> Heat | None:
    """Return the heat that plans must go through; None: the first of them may be trained at once.

    Plans compete where there are several and time for their rounds. A plan of a language model that asks for a full training
    with nothing measured that speaks for it is a guess, and goes through a heat of its own.
    """
    if not plans or (len(plans) == 1 and not is_guess(plans[0])):
        return None
    overhead, least = view.costs["overhead_own"], probe_seconds(view)
    ranked = order(plans, overhead)
    usable = view.usable - view.costs["overhead_dev"]
    if all(p.phase == "probe" for p in ranked):
        # experiments, not candidates: each in full, of one length, so that their effects can be told from one another
        seconds = max(least, *(p.seconds for p in ranked))
        fit = min(len(ranked), int(usable / (seconds + overhead)))
        return Heat(ranked[:fit], ((fit, seconds), (1, seconds)), view.next_number) if fit > 1 else None
    rounds = rungs(ranked, usable, overhead, difference_noise(view.iterations), least=least)
    if len(ranked) == 1 and usable >= 2 * (least + overhead):
        rounds = (Rung(1, least), Rung(1, min(ranked[0].seconds, usable - least - 2 * overhead)))
    if len(rounds) < 2:
        return None
    return Heat(tuple(ranked[: rounds[0].entrants]), tuple((r.entrants, r.seconds) for r in rounds), view.next_number)


def is_guess(plan: Plan) -> bool:
    """Whether nothing measured speaks for an expensive plan of a language model."""
    return plan.author != "offline" and plan.phase != "probe" and plan.method != "average" and not plan.evidence


def next_in_heat(history: History, view: View) -> Plan | None:
    """Return what the open heat asks for now: the next short training, the winner's full one, or None: it is over."""
    heat = history.heat
    if heat is None:
        return None
    done = [i for i in history.iterations if i.number >= heat.first]
    results: list[Result] = []
    schedule = [Rung(entrants, seconds) for entrants, seconds in heat.rounds]
    noise = repeat_noise(history.iterations) or 0.0
    for iteration in done:
        entry = next_entry(schedule, results, noise)
        if entry is None:
            return None
        results.append(Result(entry.entrant, iteration.number, iteration.own.credit if iteration.own else {}))
    entry = next_entry(schedule, results, noise)
    if entry is None:
        return None
    plan = heat.plans[entry.entrant]
    if not entry.last:
        return fit_batch(as_probe(plan, entry.seconds, entry.parent), view)
    if plan.phase == "probe" or _beaten(history, entry.parent, heat.first):
        return None
    final = replace(
        plan,
        parent=entry.parent,
        evidence=plan.evidence or f"iteration {entry.parent} led its heat",
        reason=f"{plan.reason}; iteration {entry.parent} led a heat of {len(heat.plans)}",
    )
    given = sized(final, view, min(view.usable, max(plan.seconds, entry.seconds)))
    return fit_batch(given, view) if given else None


def as_probe(plan: Plan, seconds: float, parent: int | None) -> Plan:
    """Return the plan as a short training, measured on the own split only."""
    knob = plan.knob if plan.phase == "probe" else f"probe of {plan.knob}"
    return replace(plan, phase="probe", seconds=seconds, parent=parent, measure="own", knob=knob)


def _beaten(history: History, number: int | None, first: int) -> bool:
    """Whether a probe from before the heat is better than the heat's winner beyond the noise."""
    best = history.iteration(number)
    if best is None or best.own is None:
        return True
    earlier: list[Iteration] = [i for i in history.iterations if i.number < first and i.plan.phase == "probe"]
    return any(i.own is not None and compare(i.own.credit, best.own.credit).replaces for i in earlier)
