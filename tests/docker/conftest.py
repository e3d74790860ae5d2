"""Tests of the Docker backend on a real engine; skipped, with the reason, where none answers."""

import os
from collections.abc import Iterator

import pytest

from harness.sandbox import engine, images
from harness.sandbox.docker import DockerBackend
from harness.spec.errors import DojoError


@pytest.fixture(scope="session")
def base_image() -> str:
    """The small image with Python and the agent's user."""
    reference = images.reference("base", "cpu")
    try:
        docker = engine.client()
        with engine.speaking("looking for the base image"):
            docker.images.get(reference)
    except DojoError as exc:
        pytest.skip(f"{exc.message}: {exc.hint}")
    return reference


@pytest.fixture
def backend(base_image: str, monkeypatch: pytest.MonkeyPatch) -> DockerBackend:
    monkeypatch.setenv("DOJO_IMAGE_TASK", base_image)
    return DockerBackend()


@pytest.fixture
def id(request: pytest.FixtureRequest, backend: DockerBackend) -> Iterator[str]:
    id = f"test-{os.getpid()}-{abs(hash(request.node.name)) % 10**8}"
    yield id
    backend.destroy(id)
