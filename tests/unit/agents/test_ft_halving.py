import math
import random
from itertools import pairwise

import pytest
from ft_agent.halving import Entry, Result, Rung, next_entry, order, rungs, survivors
from ft_agent.plan import Plan
from ft_cases import a_plan
from hypothesis import given, settings
from hypothesis import strategies as st


def plans(*gains: float, seconds: float = 100.0) -> list[Plan]:
    return [a_plan(expected_gain=g, seconds=seconds, knob=f"plan {n}") for n, g in enumerate(gains)]


def flat(value: float, items: int = 40, spread: float = 0.0, seed: int = 0) -> dict[str, float]:
    rng = random.Random(seed)
    return {f"i{k}": value + rng.gauss(0, spread) for k in range(items)}


def cost(schedule: tuple[Rung, ...], overhead: float) -> float:
    return sum(r.entrants * (r.seconds + overhead) for r in schedule)


def test_plans_are_ordered_by_expected_gain_a_second_overhead_counted() -> None:
    cheap, dear, best = (
        a_plan(expected_gain=0.02, seconds=10.0),
        a_plan(expected_gain=0.1, seconds=300.0),
        a_plan(expected_gain=0.1, seconds=60.0),
    )
    assert order([dear, cheap, best], 5.0) == (best, cheap, dear)
    # where trying anything costs much beside its training, short plans lose their lead
    assert order([dear, cheap, best], 100.0) == (best, dear, cheap)


def test_equal_plans_keep_their_order() -> None:
    same = plans(0.1, 0.1, 0.1)
    assert order(same, 1.0) == tuple(same)


@settings(max_examples=200)
@given(
    count=st.integers(1, 9),
    usable=st.floats(1, 20000),
    overhead=st.floats(0, 60),
    noise=st.none() | st.floats(0, 0.2),
    gain=st.floats(0, 0.5),
)
def test_a_schedule_never_costs_more_than_there_is_and_halves_its_entrants(
    count: int, usable: float, overhead: float, noise: float | None, gain: float
) -> None:
    schedule = rungs(plans(*[gain] * count), usable, overhead, noise)
    assert cost(schedule, overhead) <= usable + 0.1 * count * 2  # seconds are told to a tenth
    for first, second in pairwise(schedule):
        assert second.entrants == math.ceil(first.entrants / 2)
    if schedule:
        assert schedule[-1].entrants == 1
        assert all(r.seconds >= 11.9 for r in schedule)
    else:
        assert usable - overhead < 12.0


def test_a_winner_gets_the_seconds_it_asks_for_and_as_much_again_finds_it_where_there_is_time() -> None:
    schedule = rungs(plans(0.1, 0.1, 0.1, 0.1, seconds=300.0), 1000.0, 5.0, None)
    assert schedule == (Rung(4, 32.5), Rung(2, 70.0), Rung(1, 300.0))
    assert rungs(plans(0.1, 0.1, 0.1, 0.1, seconds=300.0), 40000.0, 5.0, None) == schedule
    assert rungs(plans(0.1, 0.1, seconds=600.0), 1000.0, 5.0, None) == (Rung(2, 192.5), Rung(1, 600.0))


def test_short_plans_still_get_rounds_long_enough_to_tell() -> None:
    assert rungs(plans(0.1, 0.1, 0.1, seconds=20.0), 1000.0, 5.0, None)[0] == Rung(3, 12.0)


def test_where_plans_ask_for_all_the_time_there_is_finding_the_best_costs_a_quarter_of_it() -> None:
    schedule = rungs(plans(0.1, 0.1, seconds=5000.0), 1000.0, 5.0, None)
    assert schedule == (Rung(2, 120.0), Rung(1, 745.0))


def test_the_noisier_the_own_split_the_longer_the_rounds_and_the_fewer_compete() -> None:
    many = plans(*[0.1] * 4, seconds=300.0)
    schedules = [rungs(many, 1000.0, 5.0, noise) for noise in (0.0, 0.02, 0.04, 0.06, 0.2)]
    entrants, seconds = [s[0].entrants for s in schedules], [s[0].seconds for s in schedules]
    assert entrants == sorted(entrants, reverse=True)
    assert seconds == sorted(seconds)
    assert schedules[-1] == (Rung(1, 300.0),)  # twice as noisy as what they promise
    assert entrants[0] == 4
    assert 2 in entrants


def test_where_time_is_short_fewer_plans_compete() -> None:
    assert rungs(plans(0.1, 0.1, 0.1, seconds=40.0), 100.0, 6.0, None)[0].entrants == 2
    assert rungs(plans(0.1, 0.1, 0.1), 60.0, 6.0, None) == (Rung(1, 54.0),)
    assert rungs(plans(0.1), 10.0, 6.0, None) == ()


def test_the_better_half_survives() -> None:
    close = [Result(n, n + 1, flat(v, spread=0.1, seed=n + 3)) for n, v in enumerate((0.1, 0.4, 0.38, 0.15))]
    assert survivors(close, 0.0, 2) == (1, 2)


def test_who_is_beaten_beyond_the_noise_does_not_go_on_where_there_is_room_and_does_where_trainings_vary() -> None:
    results = [Result(0, 1, flat(0.5, spread=0.05, seed=0)), Result(1, 2, flat(0.4, spread=0.05, seed=1))]
    assert survivors(results, 0.0, 2) == (0,)
    assert survivors(results, 0.1, 2) == (0, 1)


def test_who_came_to_nothing_never_survives() -> None:
    assert survivors([Result(0, 1, {}), Result(1, 2, flat(0.1))], 0.0, 2) == (1,)
    assert survivors([Result(0, 1, {})], 0.0, 1) == ()


def test_a_heat_is_told_from_its_results_alone() -> None:
    schedule = (Rung(4, 20.0), Rung(2, 40.0), Rung(1, 80.0))
    close = [Result(n, n + 5, flat(v, spread=0.1, seed=n + 3)) for n, v in enumerate((0.1, 0.4, 0.38, 0.15))]
    assert next_entry(schedule, []) == Entry(0, 20.0, None, False)
    assert next_entry(schedule, close[:3]) == Entry(3, 20.0, None, False)
    assert next_entry(schedule, close) == Entry(1, 40.0, 6, False)
    second = [Result(1, 9, flat(0.5, spread=0.3, seed=8)), Result(2, 10, flat(0.9, spread=0.3, seed=9))]
    assert next_entry(schedule, [*close, second[0]]) == Entry(2, 40.0, 7, False)
    assert next_entry(schedule, [*close, *second]) == Entry(2, 80.0, 10, True)
    assert next_entry(schedule, [*close, *second, Result(2, 11, flat(0.6))]) is None


def test_an_entrant_that_beats_all_others_at_once_gets_their_time() -> None:
    schedule = (Rung(4, 20.0), Rung(2, 40.0), Rung(1, 80.0))
    clear = [Result(n, n + 1, flat(0.9 if n == 2 else 0.1, spread=0.01, seed=n)) for n in range(4)]
    assert next_entry(schedule, clear) == Entry(2, 120.0, 3, True)
    assert next_entry(schedule, [Result(n, n + 1, {}) for n in range(4)]) is None


class World:
    """Plans whose quality grows with the time they get, each towards its own ceiling at its own speed; guesses know a little."""

    def __init__(self, seed: int, count: int, slowness: float) -> None:
        self.rng = random.Random(seed)
        self.ceiling = [self.rng.gauss(0.5, 0.08) for _ in range(count)]
        self.speed = [math.exp(self.rng.gauss(0, 0.3)) / slowness for _ in range(count)]
        self.hard = [self.rng.gauss(0, 0.2) for _ in range(40)]
        self.guesses = [max(0.01, 0.2 + 0.3 * (c - 0.5) + self.rng.gauss(0, 0.05)) for c in self.ceiling]

    def quality(self, plan: int, seconds: float) -> float:
        return self.ceiling[plan] * (1 - math.exp(-self.speed[plan] * seconds))

    def look(self, plan: int, seconds: float) -> dict[str, float]:
        """Forty items; each training has luck of its own beside every item's."""
        here = self.quality(plan, seconds) + self.rng.gauss(0, 0.01)
        return {f"i{k}": here + h + self.rng.gauss(0, 0.1) for k, h in enumerate(self.hard)}


def race(world: World, asked: float, usable: float, overhead: float, noise: float | None) -> tuple[int, float, float]:
    """Run a heat to its end; return the plan picked, its quality then, and the seconds that it all cost."""
    entrants = order([a_plan(expected_gain=g, seconds=asked, knob=str(n)) for n, g in enumerate(world.guesses)], overhead)
    schedule = rungs(entrants, usable, overhead, noise)
    trained = [0.0] * len(entrants)
    results: list[Result] = []
    spent, picked = 0.0, 0
    while (entry := next_entry(schedule, results, 0.01)) is not None:
        plan = int(entrants[entry.entrant].knob)
        trained[entry.entrant] += entry.seconds
        spent += entry.seconds + overhead
        results.append(Result(entry.entrant, len(results) + 1, world.look(plan, trained[entry.entrant])))
        picked = entry.entrant
    plan = int(entrants[picked].knob)
    return plan, world.quality(plan, trained[picked]), spent


def compete(count: int, slowness: float, asked: float, noise: float | None) -> tuple[float, float, float]:
    """Return how much oftener a heat picks the truly best plan than running the most promising one does, and both qualities."""
    usable, overhead, worlds = 600.0, 6.0, 300
    right, quality, quality_alone = 0, 0.0, 0.0
    for seed in range(worlds):
        world = World(seed, count, slowness)
        best = max(range(count), key=lambda n: world.quality(n, usable - overhead))
        alone = max(range(count), key=lambda n: world.guesses[n])
        picked, reached, spent = race(world, asked, usable, overhead, noise)
        assert spent <= usable + 1.0
        right += (picked == best) - (alone == best)
        quality += reached / worlds
        quality_alone += world.quality(alone, usable - overhead) / worlds
    return right / worlds, quality, quality_alone


# twice the standard error of a difference of two shares of 300 worlds
CLEARLY = 2 * math.sqrt(0.5 / 300)


@pytest.mark.parametrize("noise", [None, 0.025])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_halving_picks_the_truly_best_plan_more_often_than_running_one_at_equal_seconds_and_ends_better(
    count: int, noise: float | None
) -> None:
    oftener, quality, alone = compete(count, slowness=60.0, asked=240.0, noise=noise)
    assert oftener > CLEARLY
    assert quality > alone


@pytest.mark.parametrize("count", [2, 3, 4])
def test_where_every_second_of_training_counts_the_best_is_still_picked_more_often_and_little_is_lost(count: int) -> None:
    oftener, quality, alone = compete(count, slowness=600.0, asked=5000.0, noise=None)
    assert oftener > 0
    assert quality > 0.93 * alone
