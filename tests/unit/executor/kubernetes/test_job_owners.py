"""What root submits is given to the user that runners and the service are."""

import os
from pathlib import Path

import pytest

from harness.executor.kubernetes.owners import hand_over, hand_over_cache

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


@pytest.mark.parametrize("made_for_runners", [True, False])
def test_what_root_prepared_is_given_to_runners_in_a_cache_of_theirs_and_in_no_other(
    tmp_path: Path, made_for_runners: bool
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    prepared, foreign = tmp_path / "data" / "hidden.jsonl", tmp_path / "references" / "of-a-runner"
    for file in (prepared, foreign):
        file.parent.mkdir(mode=0o700)
        file.write_text("x")
    os.chown(foreign, _USER - 1, _USER - 1)
    if made_for_runners:
        os.chown(tmp_path, _USER, _USER)
    hand_over_cache(tmp_path, _USER)
    given = {path for path in tmp_path.rglob("*") if path.stat().st_uid == _USER}
    assert given == ({prepared, prepared.parent, foreign.parent} if made_for_runners else set())
