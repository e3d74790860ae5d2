"""The backend `unsafe-local` has execd's semantics, and none of the promises that protect anything."""

import os
from collections.abc import Iterator

import pytest

from harness.sandbox.contract import PROMISES, Promise, PromiseBroken, Stage
from harness.sandbox.this_host import disk_folder
from harness.sandbox.unsafe_local import UnsafeLocalBackend

SEMANTICS = {"exec", "processes", "deadline", "files", "shared", "archives", "lifecycle", "relays", "open-files"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(UnsafeLocalBackend(), tmp_path_factory.mktemp("contract")) as stage:
        yield stage


@pytest.mark.parametrize("promise", [p for p in PROMISES if p.group in SEMANTICS], ids=str)
def test_the_unsafe_local_backend_has_the_semantics(promise: Promise, stage: Stage) -> None:
    promise.check(stage)


@pytest.mark.parametrize("promise", [p for p in PROMISES if p.group not in SEMANTICS], ids=str)
def test_no_attack_is_tried_where_it_would_hit_the_host(promise: Promise, stage: Stage) -> None:
    with pytest.raises(PromiseBroken, match="isolates nothing"):
        promise.check(stage)


def test_its_check_says_what_is_lost() -> None:
    said = " ".join(check.detail for check in UnsafeLocalBackend().check())
    for lost in ("nothing is isolated", "hidden data", "network", "kill"):
        assert lost in said


def test_nothing_of_it_remains(stage: Stage) -> None:
    shared = stage.sandbox.spec.id
    assert [id for id in UnsafeLocalBackend().list() if f"-{os.getpid()}-" in id] == [shared]
    assert [p.name for p in disk_folder().glob(f"dojo-*-contract-{os.getpid()}-*")] == [f"dojo-{os.geteuid()}-{shared}"]
