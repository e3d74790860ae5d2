import threading

import pytest

from harness.executor.slots import Slots
from harness.spec.errors import MissingError
from harness.spec.task import Limits


def test_a_run_waits_until_another_gives_its_cores_back():
    slots, stop, second = Slots(2, 0), threading.Event(), threading.Event()

    def take() -> None:
        with slots.take(Limits(cpus=1), stop) as taken:
            assert taken
            second.set()

    with slots.take(Limits(cpus=2), stop):
        waiting = threading.Thread(target=take)
        waiting.start()
        assert not second.is_set()
    waiting.join(10)
    assert second.is_set()


def test_waiting_ends_when_no_new_run_shall_start():
    slots, stop = Slots(1, 0), threading.Event()
    with slots.take(Limits(cpus=1), stop):
        stop.set()
        with slots.take(Limits(cpus=1), stop) as taken:
            assert not taken


@pytest.mark.parametrize("limits", [Limits(cpus=9), Limits(gpus=1)])
def test_what_the_machine_can_never_give_is_refused_at_once(limits):
    with pytest.raises(MissingError) as refused:
        Slots(2, 0).check(limits)
    assert refused.value.hint and "this machine has" in refused.value.message
