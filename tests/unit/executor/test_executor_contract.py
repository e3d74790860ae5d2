import threading

import pytest

from harness import Dojo
from harness.executor.base import Work
from harness.executor.contract import PROMISES, PromiseBroken, Stage
from harness.executor.local import LocalExecutor
from harness.executor.registry import executor_names, get_executor
from harness.executor.slots import Slots
from harness.spec.errors import NotFoundError
from harness.spec.outcome import RunState
from harness.spec.task import Limits
from harness.store.database import SqlStore
from tests.unit.executor.double import OneByOne


def local(folder):
    return lambda work: LocalExecutor(work, Slots(2, 4096, 0, folder))


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_the_local_executor_keeps_its_promises(promise, tmp_path):
    promise(Stage(local(tmp_path), SqlStore(tmp_path / "home")))


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_an_executor_written_against_the_protocol_alone_keeps_them_too(promise, tmp_path):
    promise(Stage(OneByOne, SqlStore(tmp_path / "home")))


class Forgetful(OneByOne):
    """Says that it has driven what it never touched."""

    def start(self, batch):
        pass

    def wait(self, stop):
        return {}


class Deaf(OneByOne):
    """Goes on with everything after a stop."""

    def wait(self, stop):
        for thread in self._threads:
            thread.join(1)
        return self._outcomes


@pytest.mark.parametrize(
    ("factory", "broken"),
    [
        (Forgetful, "every_run_is_driven_once_and_its_state_returned"),
        (Deaf, "stopping_leaves_runs_resumable_and_starts_no_further_one"),
    ],
)
def test_the_suite_notices_an_executor_that_breaks_a_promise(tmp_path, factory, broken):
    stage = Stage(factory, SqlStore(tmp_path / "home"))
    try:
        with pytest.raises(PromiseBroken):
            next(promise for promise in PROMISES if promise.__name__ == broken)(stage)
    finally:
        stage.open(*(run.id for run in stage.store.runs()))


def test_a_waiting_run_says_what_it_waits_for(tmp_path):
    slots = Slots(2, 4096, 0, tmp_path)
    stage = Stage(lambda work: LocalExecutor(work, slots), SqlStore(tmp_path / "home"))
    _, (run,) = stage.batch(1, Limits(cpus=2, memory_mb=64))
    with Slots(2, 4096, 0, tmp_path).take("another", Limits(cpus=1, memory_mb=64), threading.Event()):
        assert stage.executor.why(stage.store.run(run)) == "waits for 2 cores, 1 free; held by another"
    assert stage.executor.why(stage.store.run(run)) == ""


def test_a_batch_that_is_driven_elsewhere_is_shared_not_fought_over(tmp_path):
    store = SqlStore(tmp_path / "home")
    first = Stage(local(tmp_path), store, parallel=1)
    batch, runs = first.batch(2)
    first.executor.start(batch)
    assert first.runner.started(runs[0]).wait(30)
    second = Stage(local(tmp_path), store)
    second.executor.start(batch)
    first.open(*runs)
    outcomes = [first.executor.wait(first.stop), second.executor.wait(second.stop)]
    assert all(store.run(run).state is RunState.DONE for run in runs)
    driven = first.runner.driven()
    assert sorted(driven) == sorted(runs), (driven, outcomes)


def test_executors_are_found_by_name(tmp_path):
    assert "local" in executor_names()
    work = Work(Stage(local(tmp_path), SqlStore(tmp_path / "home")).runner)
    assert get_executor("local", work).name == "local"
    with pytest.raises(NotFoundError, match="no executor named 'locl'"):
        get_executor("locl", work)


def test_a_batch_goes_on_with_the_executor_that_it_was_submitted_to(tmp_path, monkeypatch):
    stage = Stage(local(tmp_path), SqlStore(tmp_path / "home"))
    batch, (run,) = stage.batch(1, settings={"executor": "one-by-one"})
    asked = []

    def get(name, work):
        asked.append(name)
        return OneByOne(Work(stage.runner))

    monkeypatch.setattr("harness.service.plans.get_executor", get)
    dojo = Dojo(home=tmp_path / "home", cache=tmp_path / "cache")
    stage.open(run)
    dojo.resume(batch)
    assert stage.store.run(run).state is RunState.DONE and set(asked) == {"one-by-one"}
