"""A short game of what `python -m tests.faults.chaos --kills 100` plays at length."""

import os
from pathlib import Path

import pytest

from harness.attack.runs import make_random_model
from harness.sandbox.registry import get_backend
from harness.spec.errors import DojoError
from tests.faults.chaos import Chaos

pytestmark = pytest.mark.slow


def test_two_harnesses_that_are_killed_again_and_again_lose_nothing_and_score_nothing_twice(tmp_path: Path) -> None:
    bad = [check for check in get_backend("namespace").check() if not check.ok]
    if bad:
        pytest.skip(f"namespace is not to be had here: {bad[0].detail}")
    try:
        model = make_random_model(Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache/dojo"), tmp_path / "model")
    except DojoError as exc:
        pytest.skip(f"base model smol is not prepared: {exc.hint}")
    found = Chaos(tmp_path, tmp_path / "cache", model, "namespace", seed=3).play(kills=5, runs=2)
    assert found.broken == [] and sum(found.kills.values()) == 5 and found.acknowledged > 0
