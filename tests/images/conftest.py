"""Real builds on a real engine, under names of their own; skipped, with the reason, where no engine answers."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.sandbox import engine
from harness.sandbox.images import find_image, reference
from harness.sandbox.images.definition import Image
from harness.spec.errors import DojoError
from tests.unit.sandbox.images.conftest import local_index, make_checkout

__all__ = ["local_index"]


@pytest.fixture(scope="session")
def base_image() -> str:
    """The small image with Python and the agent's user, which stands for a registry's here."""
    found = reference("base", "cpu")
    try:
        docker = engine.client()
        with engine.speaking("looking for the base image"):
            docker.images.get(found)
    except DojoError as exc:
        pytest.skip(f"{exc.message}: {exc.hint}")
    return found


@pytest.fixture
def built_checkout(base_image: str, tmp_path: Path) -> Iterator[Path]:
    """A checkout whose images have names that nobody else uses; they are removed afterwards."""
    mark = f"{os.getpid()}-{uuid.uuid4().hex[:6]}"
    root = make_checkout(tmp_path / "checkout", f"test-below-{mark}", f"test-above-{mark}", base_image)
    yield root
    for image in engine.client().images.list(filters={"reference": f"dojo/test-*-{mark}"}):
        engine.client().images.remove(image.id, force=True)


@pytest.fixture
def below(built_checkout: Path) -> Image:
    return next(image for image in _images(built_checkout) if image.definition.from_)


@pytest.fixture
def above(built_checkout: Path) -> Image:
    return next(image for image in _images(built_checkout) if image.definition.on and image.variant == "cpu")


def _images(root: Path) -> list[Image]:
    names = [folder.name for folder in (root / "images").iterdir() if folder.is_dir()]
    return [find_image(name, "cpu", root) for name in names]
