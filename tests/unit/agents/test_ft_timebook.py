import pytest
from ft_agent.timebook import DoesNotFit, TimeBook
from reading.pace import BudgetClock


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def book(limit: float = 300.0) -> tuple[TimeBook, Clock]:
    clock = Clock()
    budget = {"wall": {"limit": limit, "used": 0.0, "left": limit}}
    return TimeBook(budget, clock=BudgetClock(budget, cores=1, wall=clock, cpu=lambda: 0.0)), clock


def test_five_percent_are_kept_for_the_final_submission() -> None:
    times, _ = book(1000.0)
    assert times.reserve() == 50.0
    assert times.usable() == 950.0


def test_a_slow_submission_enlarges_the_reserve() -> None:
    times, _ = book(300.0)
    times.record("submit", 20.0)
    assert times.reserve() == 40.0


def test_the_harness_clock_counts_not_our_own() -> None:
    times, clock = book(300.0)
    clock.now += 100
    assert times.left() == 200.0
    times.sync({"wall": {"limit": 300.0, "used": 150.0, "left": 150.0}})
    assert times.left() == 150.0
    clock.now += 10
    assert times.left() == 140.0


def test_a_plan_that_does_not_fit_is_refused_with_both_figures() -> None:
    times, clock = book(300.0)
    clock.now += 200
    times.record("evaluate", 30.0)
    with pytest.raises(DoesNotFit, match="a probe needs 120 s, 85 s are left") as caught:
        times.record("train_setup", 2.0)
        times.record("save", 1.0)
        times.record("own_score", 7.0)
        times.require("a probe", 110.0, dev=False)
    assert caught.value.needed == 120.0
    times.require("a probe", 70.0, dev=False)
    with pytest.raises(DoesNotFit):
        times.require("an exploit", 70.0, dev=True)


def test_an_evaluation_is_guessed_to_cost_wall_time_and_next_to_no_processor_time() -> None:
    by_wall, _ = book(300.0)
    budget = {"wall": {"limit": 4800.0, "used": 0.0, "left": 4800.0}, "cpu": {"limit": 240.0, "used": 0.0, "left": 240.0}}
    by_cpu = TimeBook(budget, cores=1)
    assert by_cpu.overhead(True) - by_cpu.overhead(False) < by_wall.overhead(True) - by_wall.overhead(False)
    by_cpu.record("evaluate", 9.0)
    assert by_cpu.cost("evaluate") == 9.0


def test_costs_follow_what_is_measured() -> None:
    times, _ = book()
    guess = times.cost("evaluate")
    times.record("evaluate", 10.0)
    assert times.cost("evaluate") == 10.0 != guess
    times.record("evaluate", 20.0)
    assert times.cost("evaluate") == 15.0


def test_where_cpu_seconds_end_the_run_first_the_book_counts_them_and_waiting_costs_nothing() -> None:
    wall, cpu = Clock(), Clock()
    budget = {"wall": {"limit": 2400.0, "used": 0.0, "left": 2400.0}, "cpu": {"limit": 240.0, "used": 0.0, "left": 240.0}}
    times = TimeBook(budget, clock=BudgetClock(budget, cores=1, wall=wall, cpu=cpu))
    wall.now += 300.0
    assert (times.limit, times.left(), times.used()) == (240.0, 240.0, 0.0)
    cpu.now += 40.0
    assert (times.left(), times.used()) == (200.0, 40.0)
