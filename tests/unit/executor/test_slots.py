"""Claims on a machine, shared by threads and by processes: here several `Slots` over one folder stand for several processes."""

import json
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.executor.slots import Slots
from harness.spec.errors import MissingError, StoreError
from harness.spec.task import Limits

# argv: the folder of claims; holds both cores until it is killed
_HOLD = """
import sys, threading
from pathlib import Path
from harness.executor.slots import Slots
from harness.spec.task import Limits
with Slots(2, 4096, 0, Path(sys.argv[1])).take("other", Limits(cpus=2, memory_mb=64), threading.Event()):
    print("held", flush=True)
    sys.stdin.read()
"""


def limits(cpus: float = 1, memory_mb: int = 64) -> Limits:
    return Limits(cpus=cpus, memory_mb=memory_mb)


def machine(folder: Path, memory_mb: int = 4096) -> Slots:
    return Slots(2, memory_mb, 0, folder)


def test_a_run_waits_until_another_gives_its_cores_back(tmp_path):
    slots, stop, second = machine(tmp_path), threading.Event(), threading.Event()

    def take() -> None:
        with slots.take("b", limits(), stop) as taken:
            assert taken
            second.set()

    with slots.take("a", limits(2), stop):
        waiting = threading.Thread(target=take)
        waiting.start()
        assert not second.is_set()
    waiting.join(10)
    assert second.is_set() and slots.claims() == []


def test_waiting_ends_when_no_new_run_shall_start(tmp_path):
    slots, stop = machine(tmp_path), threading.Event()
    with slots.take("a", limits(2), stop):
        stop.set()
        with slots.take("b", limits(2), stop) as taken:
            assert not taken


@pytest.mark.parametrize("asked", [Limits(cpus=9), Limits(gpus=1), Limits(memory_mb=9000)])
def test_what_the_machine_can_never_give_is_refused_at_once(tmp_path, asked):
    with pytest.raises(MissingError) as refused:
        machine(tmp_path, 8192).check(asked)
    assert refused.value.hint and "this machine has" in refused.value.message


@pytest.mark.parametrize("second", [limits(cpus=1.5), limits(memory_mb=3000)])
def test_what_another_process_holds_is_not_free(tmp_path, second):
    here, there, stop = machine(tmp_path), machine(tmp_path), threading.Event()
    with here.take("a", limits(1, 2000), stop):
        assert "held by a" in there.missing(second)
        stop.set()
        with there.take("b", second, stop) as taken:
            assert not taken
    assert there.missing(second) == ""


def test_a_dead_process_holds_nothing_any_more(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline() == b"held\n"
    slots = machine(tmp_path)
    assert [claim.run for claim in slots.claims()] == ["other"]
    other.kill()
    other.communicate()
    assert slots.claims() == []
    with slots.take("mine", limits(2), threading.Event()) as taken:
        assert taken
    assert list(tmp_path.glob("*.json")) == [], "the dead one's claim lies there for ever"


def test_an_agent_that_works_on_without_its_harness_keeps_its_room_until_its_budget_is_over(tmp_path):
    slots, stop = machine(tmp_path), threading.Event()
    with slots.take("a", limits(2), stop):
        slots.keep_until("a", datetime.now(UTC) + timedelta(hours=1))
    assert [claim.run for claim in machine(tmp_path).claims()] == ["a"]
    with machine(tmp_path).take("a", limits(2), stop) as taken:  # whoever goes on with the run takes its room over
        assert taken
    slots.forget("a")
    assert slots.claims() == []
    with slots.take("a", limits(2), stop):
        slots.keep_until("a", datetime.now(UTC) - timedelta(seconds=1))
    assert slots.claims() == []


def test_one_run_is_not_claimed_twice(tmp_path):
    stop = threading.Event()
    with (
        machine(tmp_path).take("a", limits(), stop),
        pytest.raises(StoreError) as busy,
        machine(tmp_path).take("a", limits(), stop),
    ):
        pass
    assert busy.value.code == "busy"


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"run": "x"})])
def test_a_strangers_file_is_no_claim(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    assert machine(tmp_path).claims() == []
