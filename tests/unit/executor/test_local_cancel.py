"""Cancelling a run that somebody takes up at that moment."""

import threading
from pathlib import Path

from harness.executor.base import Work
from harness.executor.contract import Stage
from harness.executor.local import LocalExecutor
from harness.executor.slots import Slots
from harness.spec.errors import StoreError
from harness.spec.task import Limits
from harness.store.database import SqlStore


def test_what_another_driver_has_claimed_stays_claimed_when_it_was_faster(tmp_path: Path) -> None:
    (tmp_path / "slots").mkdir()
    slots = Slots(2, 1000, 0, tmp_path / "slots")
    executor: list[LocalExecutor] = []

    def make(work: Work) -> LocalExecutor:
        executor.append(LocalExecutor(work, slots))
        return executor[-1]

    stage = Stage(make, SqlStore(tmp_path / "home"))
    _, (run,) = stage.batch(1)

    def taken_up(*_: object) -> None:
        raise StoreError(f"run {run} is driven by another", hint="", code="busy")

    stage.runner.drive = taken_up  # type: ignore[method-assign, assignment]
    with slots.take(run, Limits(cpus=1, memory_mb=64), threading.Event()):
        executor[0].cancel(run)
        assert [claim.run for claim in slots.claims()] == [run] and stage.store.cancel_requested(run)
