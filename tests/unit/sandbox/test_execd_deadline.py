"""execd's deadline, with a clock of the test's own."""

import os
import select
from collections.abc import Iterator

import pytest

from harness.sandbox.execd import deadline as module
from harness.sandbox.execd.deadline import Deadline, Term, Watch

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.at = 1000 * SECOND

    def __call__(self) -> int:
        return self.at

    def forward(self, seconds: float) -> None:
        self.at += int(seconds * SECOND)


class Agent:
    """Takes ``stubborn`` rounds of killing to die."""

    def __init__(self, stubborn: int = 0) -> None:
        self.stubborn = stubborn
        self.rounds: list[int] = []

    def kill(self, rounds_before: int) -> list[int]:
        self.rounds.append(rounds_before)
        return [7] if len(self.rounds) <= self.stubborn else []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "now", clock)
    return clock


@pytest.fixture
def deadline() -> Iterator[Deadline]:
    deadline = Deadline.make()
    yield deadline
    os.close(deadline.alarm)


def test_one_that_is_not_set_is_never_over(clock: Clock, deadline: Deadline) -> None:
    agent = Agent()
    clock.forward(1e6)
    assert not deadline.over and Watch(deadline, agent.kill).look() is None and agent.rounds == []


def test_it_is_over_when_its_time_has_come(clock: Clock, deadline: Deadline) -> None:
    deadline.set(10)
    clock.forward(9.999)
    assert not deadline.over
    clock.forward(0.001)
    assert deadline.over


def test_a_time_that_has_passed_is_now(clock: Clock, deadline: Deadline) -> None:
    deadline.set(-5)
    assert deadline.over


def test_killing_goes_on_until_nothing_is_left(clock: Clock, deadline: Deadline) -> None:
    agent = Agent(stubborn=2)
    watch = Watch(deadline, agent.kill)
    deadline.set(10)
    assert watch.look() is None
    clock.forward(10)
    again = [watch.look() for _ in range(4)]
    assert [wait is not None for wait in again] == [True, True, False, False]
    assert agent.rounds == [0, 1, 2]


def test_what_does_not_die_is_tried_less_and_less_often(clock: Clock, deadline: Deadline) -> None:
    watch = Watch(deadline, Agent(stubborn=10_000).kill)
    deadline.set(0)
    waits = [watch.look() or 0.0 for _ in range(1000)]
    assert 0 < waits[0] < waits[-1] < 500


def test_one_that_is_moved_while_it_is_kept_stops_the_killing(clock: Clock, deadline: Deadline) -> None:
    agent = Agent(stubborn=100)
    watch = Watch(deadline, agent.kill)
    deadline.set(0)
    watch.look()
    deadline.set(50)
    assert watch.look() is None and len(agent.rounds) == 1
    clock.forward(50)
    watch.look()
    assert agent.rounds == [0, 0]


def test_each_end_has_a_number_of_its_own(clock: Clock, deadline: Deadline) -> None:
    """So a supervisor can tell that its process lived through one, though the deadline was taken back since."""
    watch = Watch(deadline, Agent().kill)
    seen = [deadline.last_end]
    for _ in range(2):
        deadline.set(1)
        clock.forward(1)
        watch.look()
        seen.append(deadline.last_end)
        deadline.set(None)
        assert not deadline.over
    assert seen[0] == 0 and len(set(seen)) == 3


def test_a_process_knows_that_its_deadline_came_though_it_was_taken_back(clock: Clock, deadline: Deadline) -> None:
    watch, term = Watch(deadline, Agent().kill), Term(deadline)
    deadline.set(1)
    assert not term.ended
    clock.forward(1)
    watch.look()
    deadline.set(None)
    assert term.ended and not Term(deadline).ended


def test_setting_it_rings_at_once_and_then_at_its_time(deadline: Deadline) -> None:
    """With the kernel's own clock."""
    poll = select.poll()
    poll.register(deadline.alarm, select.POLLIN)
    watch = Watch(deadline, Agent().kill)
    assert not poll.poll(0)
    deadline.set(0.05)
    assert poll.poll(10_000)
    assert watch.look() is None
    assert poll.poll(10_000) and deadline.over


def test_a_reader_sees_it_and_cannot_move_it() -> None:
    deadline = Deadline.make()
    if (pid := os.fork()) == 0:
        code = 1
        try:
            reader = deadline.for_reading()
            while not reader.over:
                pass
            reader.set(None)
        except OSError:
            code = 0
        finally:
            os._exit(code)
    deadline.set(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert deadline.over
    os.close(deadline.alarm)
