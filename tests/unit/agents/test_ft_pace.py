import math

import pytest
from ft_agent.pace import LossWatch, Pace, RewardWatch
from reading.pace import Stint


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def wall(seconds: float) -> Stint:
    return {"clock": "wall", "seconds": seconds, "wall_at_most": seconds}


def test_the_rate_rises_then_falls_to_its_end_when_the_time_is_up() -> None:
    clock = Clock()
    pace = Pace(wall(100.0), None, start=0.1, warm=0.1, end=0.02, wall=clock)
    rates = []
    for clock.now in (0.0, 5.0, 10.0, 55.0, 100.0, 130.0):
        rates.append(pace.rate())
    assert rates == pytest.approx([0.1, 0.55, 1.0, 0.51, 0.02, 0.02])
    assert pace.share() == 1.0


def test_a_slow_machine_takes_fewer_steps_but_the_same_schedule() -> None:
    fast, slow = Clock(), Clock()
    a, b = (Pace(wall(60.0), None, 0.1, 0.1, 0.0, wall=c) for c in (fast, slow))
    fast.now = slow.now = 30.0
    a.steps, b.steps = 1000, 10
    assert a.rate() == b.rate()


def test_with_steps_given_whichever_is_used_up_first_ends_it() -> None:
    clock = Clock()
    pace = Pace(wall(100.0), 4, 0.1, 0.0, 0.0, wall=clock)
    pace.steps = 2
    assert pace.share() == 0.5
    clock.now = 90.0
    assert pace.share() == 0.9
    pace.steps = 4
    assert pace.share() == 1.0


def test_the_rate_is_never_nothing_while_steps_are_taken() -> None:
    assert Pace(wall(0.0), None, 0.0, 0.0, 0.0).rate() > 0


def test_paced_by_processor_time_a_run_lasts_as_long_as_it_takes_but_no_longer_than_the_wall_allows() -> None:
    cpu, clock = Clock(), Clock()
    pace = Pace({"clock": "cpu", "seconds": 60.0, "wall_at_most": 200.0}, None, 0.1, 0.0, 0.0, cpu=cpu, wall=clock)
    cpu.now, clock.now = 30.0, 90.0
    assert (pace.share(), pace.used()) == (0.5, 30.0)
    cpu.now, clock.now = 40.0, 200.0
    assert pace.share() == 1.0


def test_processes_that_train_together_take_the_share_that_they_agree_on() -> None:
    clock = Clock()
    clock.now = 1.0
    pace = Pace(wall(100.0), None, 0.1, 0.0, 0.0, wall=clock, agree=lambda _: 0.75)
    assert pace.share() == 0.75
    assert pace.rate() == pytest.approx(0.25)


def test_a_reward_that_is_lost_again_is_divergence_and_one_that_never_came_is_not() -> None:
    watch = RewardWatch()
    assert [watch.see(0.01, 1.0, 0.8) for _ in range(12)] == [None] * 12
    assert "diverged" in [watch.see(-0.01, 1.0, 0.05) for _ in range(12)]
    flat = RewardWatch()
    assert {flat.see((-1.0) ** n, 1.0, 0.1 * (n % 2)) for n in range(50)} == {None}
    assert RewardWatch().see(math.nan, 1.0, 0.5) == "nan"


def stops(losses: list[float]) -> tuple[int, str] | None:
    watch = LossWatch()
    for n, loss in enumerate(losses):
        why = watch.see(loss, 1.0)
        if why:
            return n, why
    return None


def test_not_a_number_stops_at_once_in_loss_or_gradient() -> None:
    assert stops([2.0, math.nan]) == (1, "nan")
    assert stops([math.inf]) == (0, "nan")
    assert LossWatch().see(1.0, math.nan) == "nan"


def test_a_loss_far_above_its_best_for_several_steps_is_divergence() -> None:
    found = stops([2.0, 1.5, 1.0, 0.8, 0.7, 0.6] + [9.0] * 5)
    assert found is not None and found[1] == "diverged" and found[0] <= 8


def test_an_ordinary_noisy_descent_is_left_alone() -> None:
    assert stops([3.0 * 0.97**n + 0.8 * math.sin(n) ** 2 for n in range(200)]) is None
