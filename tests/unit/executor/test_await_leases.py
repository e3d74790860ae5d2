"""Runners that are gone and could not give their leases back."""

from pathlib import Path

import pytest

from harness.executor import runners
from harness.executor.contract import Stage
from harness.executor.local import LocalExecutor
from harness.store.database import SqlStore


def test_leases_of_runners_that_are_gone_are_waited_for_and_no_longer_than_they_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(LocalExecutor, SqlStore(tmp_path))
    _, (one, other) = stage.batch(2)
    left, asked = [{one: "host"}, {one: "host"}, {}], list[list[str]]()
    monkeypatch.setattr(stage.store, "holders", lambda runs: asked.append(list(runs)) or left.pop(0))
    monkeypatch.setattr(runners, "_LOOK_S", 0.01)
    runners.await_leases(stage.store, [one, other])
    assert asked == [[one, other]] * 3
    monkeypatch.setattr(stage.store, "holders", lambda runs: {one: "somebody who lives"})
    monkeypatch.setattr(runners, "TTL_S", 0.05)
    monkeypatch.setattr(runners, "_LATE_S", 0.05)
    runners.await_leases(stage.store, [one])
