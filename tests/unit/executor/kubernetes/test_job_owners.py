"""What root submits is given to the user that runners and the service are."""

import os
from pathlib import Path

import pytest

from harness.executor.kubernetes.owners import hand_over

_USER = 65533


def test_a_run_that_root_made_and_the_way_to_it_are_given_to_runners(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    batch = tmp_path / "batches" / "b1"
    run, other = batch / "runs" / "r1", batch / "runs" / "r2"
    for folder in (run / "agent", other):
        folder.mkdir(parents=True)
    for file in (batch / "batch.json", run / "run.json", run / "agent" / "main.py"):
        file.write_text("x")
    hand_over(run, tmp_path, _USER)
    given = {path for path in (tmp_path, *tmp_path.rglob("*")) if path.stat().st_uid == _USER}
    # a service that is not root makes batches beside this one; what lies in other runs is not this call's
    assert given == {tmp_path / "batches", batch, batch / "batch.json", run.parent, run, *run.rglob("*")}
