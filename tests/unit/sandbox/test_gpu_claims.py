"""GPUs are given to one owner at a time, shared by its sandboxes, and given back when the last of them is gone."""

import shutil
from pathlib import Path

import pytest

from harness.sandbox.gpus import claim, gpu_numbers
from harness.spec.errors import MissingError, SandboxUnavailable
from harness.spec.outcome import Cause


@pytest.fixture
def boxes(tmp_path: Path) -> dict[str, Path]:
    """Folders of sandboxes of two kinds, as they lie on a host."""
    folders = {name: tmp_path / kind / name for name, kind in (("a", "sb"), ("b", "sb"), ("c", "dk"))}
    for folder in folders.values():
        folder.mkdir(parents=True)
    return folders


def test_numbers_are_those_of_devices_in_their_order(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert gpu_numbers(tmp_path) == ("0", "2", "10")


@pytest.mark.parametrize(
    ("given", "numbers"), [("2", ("2",)), ("0,10", ("0", "10")), ("1-10", ("2", "10")), ("", ("0", "2", "10"))]
)
def test_in_a_job_of_slurm_they_are_those_that_it_was_given(tmp_path: Path, given: str, numbers: tuple[str, ...]) -> None:
    for name in ("nvidia0", "nvidia10", "nvidia2"):
        (tmp_path / name).touch()
    assert gpu_numbers(tmp_path, {"SLURM_JOB_GPUS": given}) == numbers


def test_two_owners_never_share_one_whatever_backend_they_use(boxes: dict[str, Path]) -> None:
    there = ("0", "1", "2")
    assert claim(boxes["a"], "r1", 1, there) == ("0",)
    assert claim(boxes["c"], "r2", 2, there) == ("1", "2")
    with pytest.raises(SandboxUnavailable, match="of 3 here 0 are free, the others belong to r1, r2") as raised:
        claim(boxes["b"], "r3", 1, there)
    assert raised.value.death.cause is Cause.SCHEDULING


def test_sandboxes_of_one_owner_share_theirs(boxes: dict[str, Path]) -> None:
    there = ("0", "1", "2")
    claim(boxes["a"], "r1", 1, there)
    assert claim(boxes["b"], "r2", 2, there) == claim(boxes["c"], "r2", 2, there) == ("1", "2")


def test_an_owner_that_needs_more_keeps_what_it_has(boxes: dict[str, Path]) -> None:
    there = ("0", "1", "2")
    claim(boxes["a"], "r1", 1, there)
    assert claim(boxes["b"], "r2", 1, there) == ("1",)
    assert claim(boxes["c"], "r2", 2, there) == ("1", "2")


def test_they_are_free_when_the_owners_last_sandbox_is_gone(boxes: dict[str, Path]) -> None:
    claim(boxes["a"], "r1", 1, ("0",))
    claim(boxes["b"], "r1", 1, ("0",))
    shutil.rmtree(boxes["a"])
    with pytest.raises(SandboxUnavailable):
        claim(boxes["c"], "r2", 1, ("0",))
    shutil.rmtree(boxes["b"])
    assert claim(boxes["c"], "r2", 1, ("0",)) == ("0",)


def test_more_than_the_host_has_will_never_come(boxes: dict[str, Path]) -> None:
    with pytest.raises(MissingError, match="needs 2 GPUs and this host shows 1"):
        claim(boxes["a"], "r1", 2, ("0",))


def test_a_sandbox_without_gpus_claims_nothing(boxes: dict[str, Path]) -> None:
    assert claim(boxes["a"], "r1", 0, ()) == ()
    assert list(boxes["a"].iterdir()) == []
