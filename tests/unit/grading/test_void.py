"""A short game of what `python -m tests.faults.void --cases 10000` plays at length."""

import importlib.util
import sys
from pathlib import Path

import pytest

from harness.sandbox.registry import get_backend
from tests.faults.void import MEMORY_MB, Void

pytestmark = pytest.mark.slow

TASKS = Path(__file__).parents[1] / "tasks"


def test_what_is_handed_in_and_answered_is_scored_or_refused_and_breaks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = get_backend("namespace")
    if bad := [check for check in backend.check() if not check.ok]:
        pytest.skip(f"namespace is not to be had here: {bad[0].detail}")
    monkeypatch.syspath_prepend(str(TASKS))
    spec = importlib.util.spec_from_file_location("hostile_answers_of_tasks", TASKS / "test_hostile_answers.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    void = Void(tmp_path, backend, module.CASES, seed=11)
    try:
        found = void.play(range(120), answers=0.8)
    finally:
        void.close()
    assert found.broken == [] and found.cases == 120
    assert found.ended["scored"] and any(how.startswith("refused") for how in found.ended)
    assert found.ended["answer parsed"] and found.grown_mb <= MEMORY_MB
