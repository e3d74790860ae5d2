"""Two replicas over one database; drain; streams that go on."""

import threading
import time
from collections.abc import Callable

import httpx
import pytest

from harness.spec.event import Noted
from harness.spec.outcome import RunState
from harness.web.site import Limits
from tests.unit.web.conftest import Replica


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        threading.Event().wait(0.02)


@pytest.fixture(params=["sqlite", "postgres"])
def pair(request: pytest.FixtureRequest, replicas: Callable[..., Replica]) -> tuple[Replica, Replica]:
    url = request.getfixturevalue("postgres")() if request.param == "postgres" else None
    first, second = replicas(database=url), replicas(database=url)
    first.users()
    second.tokens = first.tokens
    return first, second


def test_two_replicas_drive_each_run_once(pair: tuple[Replica, Replica]):
    first, second = pair
    made = [first.batch("ann", 2) for _ in range(3)]
    runs = [run for _, some in made for run in some]
    first.stage.open(*runs)
    first.site.wake.set()
    second.site.wake.set()
    until(lambda: all(first.dojo.store.run(run).state is RunState.DONE for run in runs))
    assert sorted(first.stage.runner.driven()) == sorted(runs), "what both drove, as both keep it in the runs' folders"


def test_what_a_draining_replica_leaves_the_other_one_ends(pair: tuple[Replica, Replica]):
    first, second = pair
    second.stage.runner.drive, driven = (lambda *_: RunState.RUNNING), second.stage.runner.drive  # as if it were busy elsewhere
    _, (run,) = first.batch("ann")
    first.site.wake.set()
    assert first.stage.runner.started(run).wait(30)
    second.stage.runner.drive = driven  # type: ignore[method-assign]
    first.stop()
    assert not second.dojo.store.run(run).state.final and second.dojo.store.holder(run) != "", "it is left resumable"
    first.stage.open(run)
    second.site.wake.set()
    until(lambda: second.dojo.store.run(run).state is RunState.DONE)
    with pytest.raises(httpx.ConnectError):
        first.ask("ann", "GET", "/v1/about")


def test_a_run_that_was_submitted_at_the_machine_is_left_alone(replica: Replica):
    _, (local,) = replica.stage.batch(1)
    _, (ours,) = replica.batch("ann")
    replica.stage.open(local, ours)
    replica.site.wake.set()
    until(lambda: replica.dojo.store.run(ours).state is RunState.DONE)
    assert replica.stage.runner.driven() == [ours]


def test_a_stream_goes_on_after_the_event_that_was_seen_last_and_ends_with_the_run(replica: Replica):
    _, (run,) = replica.batch("ann")
    folder = replica.dojo.store.files(run)
    for number in range(5):
        folder.append(Noted(text=f"note {number}"))
    replica.site.wake.set()
    assert replica.stage.runner.started(run).wait(30)
    headers = {"authorization": f"Bearer {replica.tokens['ann']}", "accept": "text/event-stream", "last-event-id": "2"}
    with httpx.stream("GET", f"{replica.url}/v1/runs/{run}/events", headers=headers, timeout=30) as told:
        lines = told.iter_lines()
        assert next(lines) == "id: 3" and next(lines) == "event: note" and "note 3" in next(lines)
        replica.stage.open(run)
        rest = list(lines)
    assert rest[-3:-1] == ["event: end", "data: {}"] and "event: outcome" in rest


def test_more_streams_than_are_borne_are_told_to_come_again(replicas: Callable[..., Replica]):
    replica = replicas(limits=Limits(streams=0))
    replica.users()
    _, (run,) = replica.batch("ann")
    said = replica.ask("ann", "GET", f"/v1/runs/{run}/events", headers={"accept": "text/event-stream"})
    assert said.status_code == 503 and said.json()["error"]["code"] == "full"
    replica.stage.open(run)
