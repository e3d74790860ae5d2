"""The backend `docker` keeps every promise of the contract on a real engine."""

import os
from collections.abc import Iterator

import pytest

from harness.sandbox import engine, images
from harness.sandbox.contract import PROMISES, Promise, Stage
from harness.sandbox.docker import DockerBackend
from harness.spec.errors import DojoError


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    base = images.reference("base", "cpu")
    try:
        docker = engine.client()
        with engine.speaking("looking for the base image"):
            docker.images.get(base)
    except DojoError as exc:
        pytest.skip(f"{exc.message}: {exc.hint}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOJO_IMAGE_TASK", base)
        with Stage(DockerBackend(), tmp_path_factory.mktemp("contract")) as stage:
            yield stage


@pytest.mark.parametrize("promise", PROMISES, ids=str)
def test_the_docker_backend_keeps_its_promise(promise: Promise, stage: Stage) -> None:
    if os.geteuid() != 0 and promise.group in ("pids", "disk"):
        pytest.skip("as an ordinary user the container's own limits hold for dojo's server too: the backend's check says so")
    promise.check(stage)


def test_nothing_remains_of_all_that(stage: Stage) -> None:
    shared = stage.sandbox.spec.id
    assert [id for id in DockerBackend().list() if id.startswith(f"contract-{os.getpid()}-")] == [shared]
