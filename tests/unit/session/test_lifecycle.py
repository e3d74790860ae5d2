"""What happens when the infrastructure fails; tests/e2e runs the same machine over real sandboxes."""

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.sandbox.scripted import ScriptedBackend
from harness.session.lifecycle import MAX_ATTEMPTS, RunSession
from harness.spec.errors import MissingError, SandboxUnavailable
from harness.spec.event import EventKind
from harness.spec.outcome import Cause, RunState
from harness.store.database import Store
from harness.store.run_dir import RunDir
from tests.unit.store.test_database import spec


def session_over(tmp_path: Path, backend: ScriptedBackend, resolve=None) -> tuple[RunSession, Store, RunDir]:
    store = Store(tmp_path / "home")
    run_spec = spec("r20260101-000000-aaaaa", "b1")
    run = RunDir.create(store.run_dir("b1", run_spec.id).path, run_spec)
    store.add_batch("b1", "", [run_spec], {})
    few_shot = tmp_path / "few_shot.jsonl"
    few_shot.write_text("")
    prepared = SimpleNamespace(dir=tmp_path, few_shot_path=few_shot)
    assets = SimpleNamespace(prepared=prepared, base_model=SimpleNamespace(path=tmp_path))
    session = RunSession(run_spec, store, backend, resolve or (lambda _s, _p: assets), lambda _s, _a: (), threading.Event())
    return session, store, run


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (SandboxUnavailable("no room"), Cause.SANDBOX),
        (OSError(5, "Input/output error"), Cause.HARNESS),
        (KeyError("bug"), Cause.HARNESS),
    ],
)
def test_an_infrastructure_failure_is_tried_again_then_ends_the_run_without_a_score(tmp_path, error, cause):
    backend = ScriptedBackend(always=error)
    session, store, run = session_over(tmp_path, backend)
    assert session.drive() is RunState.FAILED
    assert len(backend.created) == MAX_ATTEMPTS
    result = run.result()
    assert result is not None and result.grade is None and result.outcome.cause is cause and not result.outcome.counts
    assert all(phase.seconds is not None for phase in result.timeline)
    row = store.run_row(run.path.name)
    assert (row.state, row.cause, row.score) == ("failed", cause.value, None)
    if isinstance(error, KeyError):
        traces = [e.data["traceback"] for e in run.events() if e.kind is EventKind.ERROR]
        assert "KeyError" in traces[0]


def test_what_is_missing_on_this_machine_is_not_tried_again(tmp_path):
    def resolve(_spec, _progress):
        raise MissingError("the data has changed", hint="submit anew")

    backend = ScriptedBackend(always=AssertionError("never reached"))
    session, _store, run = session_over(tmp_path, backend, resolve)
    assert session.drive() is RunState.FAILED
    result = run.result()
    assert result is not None and "submit anew" in result.outcome.message and not backend.created


def test_a_run_cancelled_while_queued_never_starts(tmp_path):
    backend = ScriptedBackend(always=AssertionError("never reached"))
    session, store, run = session_over(tmp_path, backend)
    (run.path / "cancel").touch()
    assert session.drive() is RunState.CANCELLED
    assert store.run_row(run.path.name).cause == "cancelled" and not backend.created
