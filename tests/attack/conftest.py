"""The ground of the attack tests, once a backend."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.attack.ground import Ground
from harness.sandbox.registry import get_backend
from harness.spec.errors import MissingError

CACHE = Path(os.environ.get("DOJO_CACHE") or Path.home() / ".cache/dojo")


@pytest.fixture(scope="module", params=["namespace", "docker"])
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    try:
        made = Ground(get_backend(request.param), CACHE)
    except MissingError as exc:
        pytest.skip(f"{exc.message}; {exc.hint}")
    with made:
        yield made


@pytest.fixture(scope="module")
def run_ground(ground: Ground) -> Ground:
    try:
        ground.runs.require()
    except MissingError as exc:
        pytest.skip(f"{exc.message}; {exc.hint}")
    return ground
