"""Successive halving over plans: who is tried first, for how long, and who goes on. Pure functions; the loop does the training.

All plans get a short training, the better half of them go on from what they have, and so on; the last one gets what time is
left (Karnin, Koren and Somekh, 2013). How short a training may be follows from the measured noise: it must tell plans apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ft_agent.choose import compare
from ft_agent.plan import Plan

# Seconds below which no training tells anything, where the caller has no measured figure: few steps fit on one core.
LEAST_S = 12.0
# Who is behind the leader by more than this many errors does not go on, even where there is room.
BEATEN_ERRORS = 2.0
# A rung must be able to show the expected gain beyond this many errors of a difference.
TOLD_ERRORS = 1.0
# Expected gains are guesses; below this a guess asks for more certainty than any own split gives.
LEAST_GAIN = 0.01


@dataclass(frozen=True)
class Rung:
    """One round: ``entrants`` plans train ``seconds`` each, going on from what the round before left them."""

    entrants: int
    seconds: float


@dataclass(frozen=True)
class Result:
    """What an entrant's training came to: its iteration's number, and its credit by item (empty: it came to nothing)."""

    entrant: int
    number: int
    credit: Mapping[str, float]


@dataclass(frozen=True)
class Entry:
    """What a heat asks for next: this entrant, for so long, going on from that iteration; ``last``: it has won."""

    entrant: int
    seconds: float
    parent: int | None
    last: bool


def order(plans: Sequence[Plan], overhead: float) -> tuple[Plan, ...]:
    """Return the plans with the most expected gain a second first; among equals the shorter, then as they came.

    Args:
        plans: what is proposed.
        overhead: seconds that trying one costs beside its training.
    """

    def seconds(plan: Plan) -> float:
        return max(1.0, plan.seconds + overhead)

    return tuple(sorted(plans, key=lambda p: (-p.expected_gain / seconds(p), seconds(p))))


def rungs(
    plans: Sequence[Plan], usable: float, overhead: float, noise: float | None, *, least: float = LEAST_S
) -> tuple[Rung, ...]:
    """Work out the rounds in which the first of the plans compete; with too little time or too much noise only one runs.

    Without a measured noise every round costs the same. With it a round is only as long as it takes to show the expected gain
    (a share f of the time shows about the share f of it), and the last one gets what this saves.

    Args:
        plans: in `order`.
        usable: seconds for everything.
        overhead: seconds a training costs beside itself.
        noise: standard error of a difference between two plans on the own split; None: not measured yet.
        least: seconds below which a training tells nothing.

    Returns:
        The rounds, each with half the entrants of the one before; empty: not even one plan fits.
    """
    gain = max([LEAST_GAIN, *(p.expected_gain for p in plans)])
    for entrants in range(len(plans), 1, -1):
        sizes = [math.ceil(entrants / 2**n) for n in range(math.ceil(math.log2(entrants)) + 1)]
        equal = [usable / len(sizes) / size - overhead for size in sizes]
        needed = least if noise is None else max(least, TOLD_ERRORS * noise / gain * (usable - overhead))
        if equal[0] < needed:
            continue
        early = equal[:-1] if noise is None else [min(e, max(needed, _doubled(needed, n))) for n, e in enumerate(equal[:-1])]
        spent = sum(size * (seconds + overhead) for size, seconds in zip(sizes, early, strict=False))
        return (*(Rung(n, round(s, 1)) for n, s in zip(sizes, early, strict=False)), Rung(1, round(usable - spent - overhead, 1)))
    alone = usable - overhead
    return (Rung(1, round(alone, 1)),) if plans and alone >= least else ()


def survivors(results: Sequence[Result], noise: float, keep: int) -> tuple[int, ...]:
    """Return the entrants that go on, best first: at most ``keep``, none that the leader beats beyond the noise.

    Compared on the items that all of them answered.

    Args:
        results: of one round.
        noise: how much a training varies by itself (`effects.repeat_noise`; 0 where unknown), beside the error over items.
        keep: entrants of the next round.
    """
    measured = [r for r in results if r.credit]
    if not measured:
        return ()
    shared = sorted(set.intersection(*(set(r.credit) for r in measured)))
    ranked = sorted(measured, key=lambda r: -sum(r.credit[i] for i in shared))
    leader, kept = ranked[0], [ranked[0].entrant]
    for result in ranked[1:keep]:
        pair = compare(leader.credit, result.credit)
        error = math.sqrt(pair.standard_error**2 + 2 * noise**2)
        if not pair.difference > BEATEN_ERRORS * error:
            kept.append(result.entrant)
    return tuple(kept)


def next_entry(schedule: Sequence[Rung], results: Sequence[Result], noise: float = 0.0) -> Entry | None:
    """Return what a heat asks for now, from what it has come to so far; None: it is over.

    A fold over the results, so that a run that was cut off goes on with the heat. The seconds of rounds that are not needed any
    more, because one entrant beat all others, go to that entrant.

    Args:
        schedule: of `rungs`.
        results: of the heat, in the order they came.
        noise: as `survivors` takes it.
    """
    alive = tuple(range(schedule[0].entrants)) if schedule else ()
    latest: dict[int, Result] = {}
    at, done = 0, list(results)
    while alive and at < len(schedule):
        last = at == len(schedule) - 1 or (len(alive) == 1 and at > 0)
        seconds = sum(r.seconds for r in schedule[at:]) if last else schedule[at].seconds
        round_, done = done[: len(alive)], done[len(alive) :]
        if len(round_) < len(alive):
            entrant = alive[len(round_)]
            parent = latest.get(entrant)
            return Entry(entrant, seconds, parent.number if parent else None, last)
        if last:
            return None
        latest |= {r.entrant: r for r in round_}
        at += 1
        alive = survivors(round_, noise, schedule[at].entrants)
    return None


def _doubled(seconds: float, rung: int) -> float:
    """Later rungs tell closer plans apart: each trains as long as all before it together."""
    return seconds * 2.0 ** max(0, rung - 1)
