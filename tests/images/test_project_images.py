"""The project's own images, where they are built: what the lock file says, and what is inside."""

import pytest

from harness.sandbox import engine
from harness.sandbox.images import find_image
from harness.sandbox.images.build import build
from harness.sandbox.images.definition import Image
from harness.sandbox.images.state import built, up_to_date
from harness.sandbox.images.verify import verify

pytestmark = pytest.mark.slow


@pytest.fixture(params=["base", "task", "grader", "grader-vllm"])
def image(request: pytest.FixtureRequest, base_image: str) -> Image:
    image = find_image(request.param, "cpu")
    if not up_to_date(image, built(image)):
        pytest.skip(f"{image.tag} is not built of today's inputs: dojo images build {image.name}")
    return image


def test_it_is_what_the_lock_records_and_what_it_holds_works(image: Image) -> None:
    assert [f"{check.name}: {check.detail}" for check in verify(image) if not check.ok] == []


def test_nothing_is_built_where_nothing_changed(image: Image, tmp_path_factory: pytest.TempPathFactory) -> None:
    said: list[str] = []
    assert not build(image, "offline", tmp_path_factory.mktemp("cache"), said.append)
    assert said[-1] == f"{image.tag} is up to date"


def test_it_holds_no_name_server_host_name_or_index_address(image: Image) -> None:
    program = "cat /etc/pip.conf /root/.config/pip/pip.conf /workspace/.config/pip/pip.conf; pip config list; env"
    said = engine.client().containers.run(image.tag, ["sh", "-c", program], network_mode="none", remove=True).decode()
    assert "index" not in said and "proxy" not in said.lower() and "://" not in said


def test_layers_are_shared() -> None:
    images = [built(find_image(name, "cpu")) for name in ("base", "task", "grader")]
    if None in images:
        pytest.skip("not all of base, task and grader are built: dojo images build")
    layers = [engine.client().images.get(found.digest).attrs["RootFS"]["Layers"] for found in images if found]
    assert layers[1][: len(layers[0])] == layers[0] and layers[2][: len(layers[1])] == layers[1]
