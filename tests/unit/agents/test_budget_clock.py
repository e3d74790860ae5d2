"""The agents' own clock: seconds at full speed by whichever dimension ends the run first."""

import subprocess
import sys
from typing import Any

import pytest
from reading.pace import BudgetClock, CpuOfTree, Progress, Stint


class Hands:
    """Wall and CPU hands that a test moves."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def work(self, wall: float, cpu: float) -> None:
        self.wall += wall
        self.cpu += cpu


def budget(**lines: tuple[float | None, float]) -> dict[str, Any]:
    """Return ``GET /v1/budget`` from (limit, used) pairs."""
    answer: dict[str, Any] = {name: {"limit": None, "used": 0.0, "left": None} for name in ("wall", "cpu", "gpu", "evaluations")}
    for name, (limit, used) in lines.items():
        answer[name] = {"limit": limit, "used": used, "left": None if limit is None else max(0.0, limit - used)}
    return answer


def clock_of(hands: Hands, *, cores: float = 1.0, gpus: int = 0, **lines: tuple[float | None, float]) -> BudgetClock:
    return BudgetClock(budget(**lines), cores=cores, gpus=gpus, wall=lambda: hands.wall, cpu=lambda: hands.cpu)


def test_with_wall_time_alone_it_is_the_wall_clock() -> None:
    hands = Hands()
    clock = clock_of(hands, wall=(300.0, 10.0))
    hands.work(wall=40.0, cpu=5.0)
    assert (clock.dimension, clock.limit, clock.left(), clock.used()) == ("wall", 300.0, 250.0, 50.0)


def test_cpu_seconds_are_counted_where_they_end_the_run_first() -> None:
    hands = Hands()
    clock = clock_of(hands, wall=(2400.0, 0.0), cpu=(240.0, 0.0))
    hands.work(wall=40.0, cpu=40.0)
    assert (clock.dimension, clock.limit, clock.left(), clock.used()) == ("cpu", 240.0, 200.0, 40.0)


def test_under_load_what_is_left_falls_more_slowly_than_the_wall_clock() -> None:
    hands = Hands()
    clock = clock_of(hands, wall=(2400.0, 0.0), cpu=(240.0, 0.0))
    hands.work(wall=160.0, cpu=40.0)
    assert clock.left() == 200.0


def test_waiting_costs_no_cpu_seconds() -> None:
    hands = Hands()
    clock = clock_of(hands, wall=(2400.0, 0.0), cpu=(240.0, 0.0))
    hands.work(wall=30.0, cpu=0.0)
    assert clock.used() == 0.0


def test_several_cores_spend_cpu_seconds_that_much_faster() -> None:
    hands = Hands()
    clock = clock_of(hands, cores=4.0, wall=(600.0, 0.0), cpu=(400.0, 0.0))
    assert (clock.dimension, clock.limit) == ("cpu", 100.0)
    hands.work(wall=10.0, cpu=40.0)
    assert clock.left() == 90.0


def test_there_is_never_more_left_than_wall_time() -> None:
    hands = Hands()
    clock = clock_of(hands, wall=(300.0, 0.0), cpu=(240.0, 0.0))
    assert clock.dimension == "cpu"
    hands.work(wall=280.0, cpu=20.0)
    assert (clock.dimension, clock.left()) == ("wall", 20.0)


def test_gpu_seconds_are_gpus_held_times_wall_seconds() -> None:
    hands = Hands()
    clock = clock_of(hands, gpus=2, wall=(3600.0, 0.0), gpu=(1200.0, 200.0))
    hands.work(wall=100.0, cpu=400.0)
    assert (clock.dimension, clock.limit, clock.left()) == ("gpu", 600.0, 400.0)


def test_the_harnesss_count_takes_the_place_of_ones_own() -> None:
    hands = Hands()
    clock = clock_of(hands, wall=(2400.0, 0.0), cpu=(240.0, 0.0))
    hands.work(wall=50.0, cpu=50.0)
    clock.sync(budget(wall=(2400.0, 51.0), cpu=(240.0, 80.0)))  # something of it had left the tree
    assert clock.left() == 160.0
    hands.work(wall=10.0, cpu=10.0)
    assert clock.left() == 150.0


def test_slack_is_the_wall_time_that_may_be_waited_without_costing_work() -> None:
    hands = Hands()
    clock = clock_of(hands, wall=(2400.0, 0.0), cpu=(240.0, 0.0))
    hands.work(wall=100.0, cpu=40.0)
    assert clock.slack() == 2300.0 - 200.0
    assert clock_of(Hands(), wall=(300.0, 0.0)).slack() == 0.0


def test_nothing_is_left_below_zero() -> None:
    hands = Hands()
    clock = clock_of(hands, wall=(2400.0, 0.0), cpu=(10.0, 0.0))
    hands.work(wall=20.0, cpu=20.0)
    assert (clock.left(), clock.used(), clock.stint(5.0)["seconds"]) == (0.0, 10.0, 0.0)


def test_a_budget_that_limits_no_time_is_refused_with_what_it_has() -> None:
    with pytest.raises(ValueError, match=r"limits no time .*\['evaluations'\]"):
        BudgetClock({"evaluations": {"limit": 5, "used": 0, "left": 5}}, cores=1.0)


def test_a_machine_without_cores_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cores is 0\.0"):
        BudgetClock(budget(wall=(300.0, 0.0)), cores=0.0)


def test_a_stint_by_the_wall_is_wall_seconds() -> None:
    stint = clock_of(Hands(), wall=(300.0, 0.0), cpu=(900.0, 0.0)).stint(60.0)
    assert stint == {"clock": "wall", "seconds": 60.0, "wall_at_most": 60.0}


def test_a_stint_by_cpu_is_cpu_seconds_of_all_cores_and_bounded_by_its_share_of_the_wall() -> None:
    stint = clock_of(Hands(), cores=2.0, wall=(2400.0, 0.0), cpu=(480.0, 0.0)).stint(60.0)
    assert stint == {"clock": "cpu", "seconds": 120.0, "wall_at_most": 600.0}


def test_a_stint_without_a_limit_on_wall_time_has_a_finite_bound() -> None:
    assert clock_of(Hands(), cpu=(480.0, 0.0)).stint(60.0)["wall_at_most"] == 1e9


def test_a_stint_is_never_longer_than_what_is_left() -> None:
    assert clock_of(Hands(), wall=(2400.0, 0.0), cpu=(240.0, 200.0)).stint(60.0)["seconds"] == 40.0


def progress_of(hands: Hands, stint: Stint) -> Progress:
    return Progress(stint, wall=lambda: hands.wall, cpu=lambda: hands.cpu)


def test_progress_follows_the_stints_clock() -> None:
    hands = Hands()
    by_cpu = progress_of(hands, {"clock": "cpu", "seconds": 100.0, "wall_at_most": 1000.0})
    by_wall = progress_of(hands, {"clock": "wall", "seconds": 100.0, "wall_at_most": 100.0})
    hands.work(wall=40.0, cpu=10.0)
    assert (by_cpu.share(), by_wall.share()) == (0.1, 0.4)
    assert (by_cpu.left(), by_wall.left()) == (90.0, 60.0)


def test_progress_is_at_its_end_when_the_wall_time_is_over() -> None:
    hands = Hands()
    progress = progress_of(hands, {"clock": "cpu", "seconds": 100.0, "wall_at_most": 200.0})
    hands.work(wall=200.0, cpu=10.0)
    assert (progress.share(), progress.left()) == (1.0, 0.0)


BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"


def test_the_cpu_of_this_process_counts() -> None:
    count, before = CpuOfTree(), CpuOfTree()()
    while count() < before + 0.05:
        pass
    assert count() >= before + 0.05


def test_the_cpu_of_children_that_have_ended_counts_and_is_not_counted_twice() -> None:
    count = CpuOfTree()
    before = count()
    subprocess.run([sys.executable, "-c", BURN.format(seconds=0.4)], check=True)
    used = count() - before
    assert 0.35 < used < 0.75


def test_the_cpu_of_grandchildren_at_work_counts() -> None:
    work = "import subprocess, sys\n" + BURN.format(seconds=0.3) + "print('done', flush=True)\nsys.stdin.read()\n"
    shell = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}])"
    count = CpuOfTree()
    before = count()
    process = subprocess.Popen([sys.executable, "-c", shell], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    try:
        assert process.stdout.readline() == b"done\n"
        alive = count() - before
    finally:
        process.communicate(b"")
    assert alive > 0.28
    assert count() - before >= alive, "it does not fall when they end"
