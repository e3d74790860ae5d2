"""GPUs are given to one run at a time, and given back when nothing of the run is left."""

import shutil
from pathlib import Path

import pytest

from harness.sandbox.gpus import claim, gpu_numbers
from harness.spec.errors import SandboxUnavailable


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, Path]:
    folders = {name: tmp_path / name for name in ("r1", "r2", "r3")}
    for folder in folders.values():
        folder.mkdir()
    return folders


def test_numbers_are_those_of_devices_in_their_order(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert gpu_numbers(tmp_path) == ("0", "2", "10")


def test_two_runs_never_share_one(runs: dict[str, Path]) -> None:
    assert claim(runs["r1"], 1, ("0", "1", "2")) == ("0",)
    assert claim(runs["r2"], 2, ("0", "1", "2")) == ("1", "2")
    with pytest.raises(SandboxUnavailable, match="of 3 here 0 are free, the others belong to r1, r2"):
        claim(runs["r3"], 1, ("0", "1", "2"))


def test_a_run_that_asks_again_keeps_its_own(runs: dict[str, Path]) -> None:
    first = claim(runs["r1"], 2, ("0", "1"))
    assert claim(runs["r1"], 2, ("0", "1")) == first


def test_what_a_removed_run_had_is_free(runs: dict[str, Path]) -> None:
    claim(runs["r1"], 1, ("0",))
    shutil.rmtree(runs["r1"])
    assert claim(runs["r2"], 1, ("0",)) == ("0",)


def test_a_run_without_gpus_claims_nothing(runs: dict[str, Path]) -> None:
    assert claim(runs["r1"], 0, ()) == ()
    assert list(runs["r1"].iterdir()) == []
