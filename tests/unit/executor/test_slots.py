"""Claims on a machine, shared by threads and by processes: here several `Slots` over one folder stand for several processes."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.executor.slots import Slots
from harness.executor.tickets import Tickets
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

# argv: the same; waits in the queue until it is killed
_WAIT = """
import sys
from pathlib import Path
from harness.executor.tickets import Tickets
tickets = Tickets(Path(sys.argv[1]))
tickets.take("other")
print("waits", flush=True)
sys.stdin.read()
"""


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
        assert "held by a" in there.missing("b", second)
        stop.set()
        with there.take("b", second, stop) as taken:
            assert not taken
    assert there.missing("b", second) == ""


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


def test_room_goes_to_whoever_came_first_not_to_the_next_run_of_the_batch_that_leaves_it(tmp_path):
    batch, another, stop = machine(tmp_path), machine(tmp_path), threading.Event()
    order: list[str] = []

    def take(slots: Slots, run: str) -> None:
        with slots.take(run, limits(2), stop) as taken:
            assert taken
            order.append(run)

    with batch.take("batch-1", limits(2), stop):
        other = threading.Thread(target=take, args=(another, "other"))
        other.start()
        wait_until(lambda: (tmp_path / "other.waits").exists())
    nexts = [threading.Thread(target=take, args=(batch, f"batch-{n}")) for n in (2, 3)]
    for thread in nexts:
        thread.start()
    for thread in (other, *nexts):
        thread.join(20)
    assert order[0] == "other" and sorted(order) == ["batch-2", "batch-3", "other"]
    assert not list(tmp_path.glob("*.waits")) and batch.claims() == []


def test_who_waits_is_told_whose_turn_it_is_and_the_dead_have_none(tmp_path):
    slots, stop = machine(tmp_path), threading.Event()
    waits = subprocess.Popen([sys.executable, "-c", _WAIT, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert waits.stdout is not None and waits.stdout.readline() == b"waits\n"
    assert slots.missing("mine", limits()) == "waits for its turn, after other"
    stop.set()
    with slots.take("mine", limits(), stop) as taken:
        assert not taken
    waits.kill()
    waits.communicate()
    assert slots.missing("mine", limits()) == ""
    with slots.take("mine", limits(), threading.Event()) as taken:
        assert taken
    assert not list(tmp_path.glob("*.waits"))


def test_who_goes_on_with_a_run_that_works_here_waits_for_nobody(tmp_path):
    slots, stop, later = machine(tmp_path), threading.Event(), threading.Event()
    with slots.take("a", limits(2), stop):
        slots.keep_until("a", datetime.now(UTC) + timedelta(hours=1))

    def wait() -> None:
        with machine(tmp_path).take("b", limits(2), stop):
            later.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    wait_until(lambda: (tmp_path / "b.waits").exists())
    with machine(tmp_path).take("a", limits(2), stop) as taken:
        assert taken and not later.is_set()
    slots.forget("a")
    waiting.join(20)
    assert later.is_set()


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"run": "x"}), json.dumps({"run": "x", "since": "soon"})])
def test_a_strangers_file_is_no_ticket(tmp_path, text):
    (tmp_path / "x.waits").write_text(text)
    with machine(tmp_path).take("mine", limits(2), threading.Event()) as taken:
        assert taken


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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("left", ["mine.waits", "mine.json"])
def test_what_another_user_s_dead_process_left_of_the_same_run_is_in_nobody_s_way(tmp_path, left):
    folder = tmp_path / "slots"
    folder.mkdir()
    folder.chmod(0o1777)
    for parent in tmp_path.parents:
        if parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    tmp_path.chmod(0o755)
    claim = {"run": "mine", "user": 0, "cpus": 2, "memory_mb": 64, "gpus": 0, "until": 0, "since": 1.0}
    (folder / left).write_text(json.dumps(claim))
    (folder / left).chmod(0o644)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            slots, tickets = machine(folder), Tickets(folder)
            tickets.take("mine")
            assert tickets.before("other") == ["mine"]
            tickets.give_back("mine")
            for _ in range(2):
                with slots.take("mine", limits(2), threading.Event()) as taken:
                    assert taken and [claim.run for claim in slots.claims()] == ["mine"]
                    slots.keep_until("mine", datetime.now(UTC) + timedelta(seconds=60))
                slots.forget("mine")
                assert slots.claims() == []
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert [path.name for path in folder.iterdir() if path.name not in ("ledger", left)] == []
