"""Successive halving over plans: who is tried first, for how long, and who goes on. Pure functions; the loop does the training.

All plans get a short training, the better half of them go on from what they have, and so on; the last one gets what time is
left (Karnin, Koren and Somekh, 2013). How many compete follows from the measured noise: a round must be able to tell them apart.
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
# Whoever was expected to bring more stays ahead within this many errors. In simulated heats of three plans half an error gained
# where the expectations knew a little, and lost little where they knew nothing; a whole one lost.
PREFERRED_ERRORS = 0.5
# What finding the best plan may cost where plans ask for all the time there is: more, and the winner ends behind a plan taken
# blindly that had all of it (simulated).
EARLY_SHARE = 0.25
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

    The winner gets the seconds it asks for where they are there. Finding it may cost as much again, or what the rounds need, if
    that is left beside them, and else `EARLY_SHARE` of all; in equal parts by round. A share f of the time a plan asks for is
    taken to show a share f of what it promises, so the noise says how long the first round must be.

    Args:
        plans: in `order`.
        usable: seconds for everything.
        overhead: seconds a training costs beside itself.
        noise: standard error of a difference between two plans (`effects.difference_noise`); None: not measured yet.
        least: seconds below which a training tells nothing.

    Returns:
        The rounds, each with half the entrants of the one before; empty: not even one plan fits.
    """
    asked = min(usable - overhead, max([least, *(p.seconds for p in plans)]))
    if not plans or asked < least:
        return ()
    needed = max(least, TOLD_ERRORS * (noise or 0.0) / max([LEAST_GAIN, *(p.expected_gain for p in plans)]) * asked)
    for entrants in range(len(plans) if needed <= asked else 1, 1, -1):
        sizes = [math.ceil(entrants / 2**n) for n in range(math.ceil(math.log2(entrants)))]
        wanted = max(asked, len(sizes) * entrants * (needed + overhead))
        early = min(wanted, max(usable - asked - overhead, EARLY_SHARE * usable))
        each = [early / len(sizes) / size - overhead for size in sizes]
        if each[0] >= needed - 1e-9:
            rounds = [Rung(size, round(seconds, 1)) for size, seconds in zip(sizes, each, strict=True)]
            return (*rounds, Rung(1, round(min(asked, usable - early - overhead), 1)))
    return (Rung(1, round(asked, 1)),)


def survivors(results: Sequence[Result], noise: float, keep: int) -> tuple[int, ...]:
    """Return the entrants that go on, best first: at most ``keep``, none that the leader beats beyond the noise.

    An entrant passes one that was expected to bring more only with a lead beyond `PREFERRED_ERRORS`.

    Args:
        results: of one round.
        noise: how much a training varies by itself (`effects.repeat_noise`; 0 where unknown), beside the error over items.
        keep: entrants of the next round.
    """
    ranked: list[Result] = []
    for result in sorted((r for r in results if r.credit), key=lambda r: r.entrant):
        place = len(ranked)
        while place and _lead(result, ranked[place - 1], noise) > PREFERRED_ERRORS:
            place -= 1
        ranked.insert(place, result)
    return tuple(r.entrant for r in ranked[:keep] if _lead(ranked[0], r, noise) <= BEATEN_ERRORS)


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


def _lead(one: Result, other: Result, noise: float) -> float:
    """How far one is ahead of the other on the items both answered, in errors."""
    pair = compare(one.credit, other.credit)
    error = math.sqrt(pair.standard_error**2 + 2 * noise**2)
    return pair.difference / error if error > 0 else math.copysign(math.inf, pair.difference) if pair.difference else 0.0
