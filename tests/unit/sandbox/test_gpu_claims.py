"""GPUs are given to one owner at a time, shared by its sandboxes, and given back when the last of them is gone."""

import shutil
from pathlib import Path

import pytest

from harness.sandbox.gpus import claim, claim_gpus, held_by
from harness.spec.errors import MissingError, SandboxUnavailable
from harness.spec.outcome import Cause
from tests.unit.sandbox.nvidia.trees import Tree


@pytest.fixture
def boxes(tmp_path: Path) -> dict[str, Path]:
    """Folders of sandboxes of two kinds, as they lie on a host."""
    folders = {name: tmp_path / kind / name for name, kind in (("a", "sb"), ("b", "sb"), ("c", "dk"))}
    for folder in folders.values():
        folder.mkdir(parents=True)
    return folders


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


def test_only_gpus_that_the_harness_may_use_are_ever_claimed(boxes: dict[str, Path], tmp_path: Path) -> None:
    tree = Tree(tmp_path / "host", [0, 1, 2, 3]).tree
    mine = {"CUDA_VISIBLE_DEVICES": "2,3"}
    assert [gpu.minor for gpu in claim_gpus(boxes["a"], "r1", 1, tree, mine)] == [2]
    assert [gpu.minor for gpu in claim_gpus(boxes["b"], "r2", 1, tree, mine)] == [3]
    with pytest.raises(SandboxUnavailable, match="of 2 here 0 are free"):
        claim_gpus(boxes["c"], "r3", 1, tree, mine)
    assert [gpu.minor for gpu in claim_gpus(boxes["c"], "r3", 1, tree, {})] == [0]


def test_it_is_known_which_an_owner_has(boxes: dict[str, Path], tmp_path: Path) -> None:
    claim(boxes["a"], "r1", 1, ("0", "1"))
    claim(boxes["c"], "r2", 1, ("0", "1"))
    assert (held_by("r1", tmp_path), held_by("r2", tmp_path), held_by("r3", tmp_path)) == (("0",), ("1",), ())
