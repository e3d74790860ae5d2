from datetime import UTC, datetime

import pytest

from harness.spec import RunSpec, RunState
from harness.spec.agent import AgentConfig
from harness.spec.budget import Budget
from harness.spec.errors import NotFoundError, StoreError, UsageError
from harness.spec.run import AgentRef, BaseModelRef, TaskRef
from harness.spec.task import Generation, Limits
from harness.store.database import Store
from harness.store.ids import new_id


def spec(run: str, batch: str, task: str = "math/aime25") -> RunSpec:
    return RunSpec(
        id=run,
        batch=batch,
        agent=AgentRef(config=AgentConfig(name="base", command=("true",)), digest="a"),
        task=TaskRef(id=task, profile="mini", digest="t", data_digest="d"),
        base_model=BaseModelRef(name="smol", digest="m"),
        seed=0,
        budget=Budget(wall=60),
        limits=Limits(),
        generation=Generation(),
        sandbox="namespace",
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_runs_come_back_in_order_of_submission_and_keep_their_state_over_reopening(tmp_path):
    store = Store(tmp_path)
    store.add_batch("b2", "", [spec("r9", "b2"), spec("r1", "b2")], {})
    store.update_run("r9", state=RunState.DONE, score=0.5)
    store.close()
    again = Store(tmp_path)
    assert [(r.id, r.state, r.score) for r in again.runs()] == [("r9", "done", 0.5), ("r1", "queued", None)]


def test_references_resolve_by_prefix_and_last(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(NotFoundError):
        store.resolve("@last", "batch")
    store.add_batch("b2026-a", "", [spec("r2026-x", "b2026-a")], {})
    store.add_batch("b2026-b", "", [spec("r2027-y", "b2026-b")], {})
    assert store.resolve("@last", "batch") == "b2026-b"
    assert store.resolve("r2027", "run") == "r2027-y"
    with pytest.raises(UsageError, match="not unique"):
        store.resolve("b2026", "any")
    with pytest.raises(NotFoundError) as missing:
        store.resolve("r2027-z", "run")
    assert "r2027-y" in missing.value.hint


def test_a_home_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="DOJO_HOME"):
        Store(tmp_path / "file" / "home")


def test_ids_sort_by_time_and_differ():
    ids = [new_id("r") for _ in range(200)]
    assert len(set(ids)) == 200 and all(i.startswith("r20") and len(i) == 22 for i in ids)
