from datetime import UTC, datetime, timedelta

import pytest

from harness.sandbox.base import SandboxUsage
from harness.session.clock import BudgetClock, exhausted, new_warnings
from harness.spec.budget import Budget, Usage

START = datetime(2026, 1, 1, tzinfo=UTC)


class Ticker:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_wall_time_goes_on_while_a_crashed_harness_is_being_resumed():
    ticker = Ticker()
    clock = BudgetClock(Budget(wall=60), START, monotonic=ticker, now=lambda: START + timedelta(seconds=40))
    ticker.now += 5
    assert clock.elapsed() == 45 and clock.left() == 15
    ticker.now += 100
    assert clock.left() == 0


def test_a_stopped_clock_stays_where_it_is():
    ticker = Ticker()
    clock = BudgetClock(Budget(wall=60), START, monotonic=ticker, now=lambda: START)
    ticker.now += 7
    clock.stop()
    ticker.now += 7
    assert clock.elapsed() == 7


def test_usage_adds_sandboxes_and_charges_gpus_by_wall_time():
    ticker = Ticker()
    clock = BudgetClock(Budget(wall=60), START, gpus=2, monotonic=ticker, now=lambda: START)
    ticker.now += 10
    used = clock.usage([SandboxUsage(3, 100, 5), SandboxUsage(1, 300, 2)], 4)
    assert (used.wall, used.cpu, used.gpu, used.disk_mb, used.memory_peak_mb, used.evaluations) == (10, 4, 20, 7, 300, 4)


def test_warnings_come_once_at_each_share_of_each_dimension():
    budget = Budget(wall=100, cpu=10, evaluations=2)
    usage = Usage(wall=81, cpu=5, evaluations=1)
    due = new_warnings(budget, usage, frozenset())
    assert due == [("wall", 0.5), ("wall", 0.8), ("evaluations", 0.5), ("cpu", 0.5)]
    assert new_warnings(budget, usage, frozenset(due)) == []


def test_spent_evaluations_and_disk_do_not_end_a_run_but_cpu_and_wall_do():
    budget = Budget(wall=100, cpu=10, evaluations=2, disk_mb=5)
    assert exhausted(budget, Usage(wall=5, evaluations=2)) is None
    assert exhausted(budget, Usage(wall=5, disk_mb=6)) is None
    assert exhausted(budget, Usage(wall=5, cpu=10)) == "cpu"
    assert exhausted(budget, Usage(wall=100)) == "wall"


@pytest.mark.parametrize(
    ("budget", "usage", "ends"),
    [
        (Budget(wall=10), Usage(wall=10), "wall"),
        (Budget(wall=10, cpu=5), Usage(wall=1, cpu=5), "cpu"),
        (Budget(wall=10, gpu=5), Usage(wall=1, gpu=6), "gpu"),
        # refused beyond, but an agent that has spent them can still hand in
        (Budget(wall=10, evaluations=2), Usage(wall=1, evaluations=2), None),
        (Budget(wall=10, tokens=5), Usage(wall=1, tokens=9), None),
        (Budget(wall=10, dollars=1), Usage(wall=1, dollars=2), None),
        (Budget(wall=10, disk_mb=5), Usage(wall=1, disk_mb=9), None),
        (Budget(wall=10, cpu=5, disk_mb=5), Usage(wall=1, cpu=5, disk_mb=50), "cpu"),
    ],
)
def test_only_time_ends_a_run_and_everything_else_refuses(budget, usage, ends):
    assert exhausted(budget, usage) == ends


def test_time_that_the_agent_was_kept_waiting_is_not_charged():
    now, start = [0.0], datetime(2026, 1, 1, tzinfo=UTC)
    clock = BudgetClock(Budget(wall=10), start, monotonic=lambda: now[0], now=lambda: start)
    now[0] = 8.0
    assert clock.left() == 2.0
    assert clock.excuse(3.0) and clock.left() == 5.0 and clock.elapsed() == 5.0
    assert not clock.excuse(3.0)
