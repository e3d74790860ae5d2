"""What is said of a run that has ended is remembered until its files change."""

from pathlib import Path

import pytest

from harness.executor.contract import Stage
from harness.executor.local import LocalExecutor
from harness.session import status
from harness.spec.event import Ended, Entered, Noted
from harness.spec.outcome import Cause, RunState
from harness.store.database import SqlStore
from harness.store.run_dir import RunDir


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    stage = Stage(LocalExecutor, SqlStore(tmp_path))
    _, (run,) = stage.batch(1)
    return stage.store.files(run)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[RunDir]:
    """The runs whose events were read."""
    seen, truly = list[RunDir](), status._read
    monkeypatch.setattr(status, "_read", lambda spec, run, *more: seen.append(run) or truly(spec, run, *more))
    return seen


def ask(run: RunDir) -> status.RunStatus:
    return status.run_status(run.spec(), run, "here", None)


def test_an_ended_run_is_read_once_until_something_is_added(run: RunDir, read: list[RunDir]) -> None:
    run.append(Ended(cause=Cause.COMPLETED, phase="agent"))
    run.append(Entered(state=RunState.DONE))
    assert ask(run) == ask(run) and ask(run).state is RunState.DONE and len(read) == 1
    run.append(Noted(text="graded again, say"))
    assert ask(run).last_event == "graded again, say" and len(read) == 2


def test_a_run_that_has_not_ended_is_read_each_time(run: RunDir, read: list[RunDir]) -> None:
    run.append(Entered(state=RunState.RUNNING))
    assert ask(run).state is ask(run).state is RunState.RUNNING and len(read) == 2


def test_events_that_are_lost_are_not_remembered(run: RunDir, read: list[RunDir]) -> None:
    run.append(Entered(state=RunState.DONE))
    assert ask(run).state is RunState.DONE
    run.events_path.unlink()
    assert ask(run).state is not RunState.DONE
