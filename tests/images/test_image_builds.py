"""Small images built for real: nothing is built twice, no network is needed, and what is wrong inside is found."""

import threading
from pathlib import Path

import pytest

from harness.sandbox import engine
from harness.sandbox.images import build as building
from harness.sandbox.images.build import build, choose_way
from harness.sandbox.images.definition import INPUTS_LABEL, Image, inputs_digest
from harness.sandbox.images.state import built, lock_path, read_lock, up_to_date
from harness.sandbox.images.verify import verify
from harness.spec.errors import MissingError

pytestmark = pytest.mark.slow


def silent(text: str) -> None:
    pass


@pytest.fixture
def foundation(below: Image, tmp_path: Path) -> Image:
    """The lower image, built on the base that is there already."""
    assert build(below, "registry", tmp_path / "cache", silent)
    return below


def failing(image: Image) -> dict[str, str]:
    return {check.name.split(" ")[1]: check.detail for check in verify(image) if not check.ok}


def test_an_offline_build_needs_no_network_and_is_done_once(
    foundation: Image, above: Image, local_index: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    assert build(above, "offline", tmp_path / "cache", said.append)
    assert f"{foundation.tag} is up to date" in said and any(line.strip().startswith("[") for line in said)
    found = built(above)
    assert found is not None and found.user == "agent" and found.inputs == inputs_digest(above)
    assert engine.client().images.get(above.tag).labels[INPUTS_LABEL] == inputs_digest(above)
    entry = read_lock(lock_path(above))[above.tag]
    assert (entry.digest, entry.inputs, entry.base, entry.way) == (found.digest, found.inputs, foundation.tag, "offline")
    assert failing(above) == {}
    assert not build(above, "offline", tmp_path / "cache", said.append)
    assert not engine.client().images.list("dojo/wheels", filters={"reference": f"dojo/wheels:{above.name}*"})


def test_a_change_of_inputs_is_seen_and_built(foundation: Image, above: Image, local_index: Path, tmp_path: Path) -> None:
    build(above, "offline", tmp_path / "cache", silent)
    first = built(above)
    dockerfile = above.folder / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("USER agent", "ENV NEW=1\nUSER agent"))
    assert not up_to_date(above, first)
    assert set(failing(above)) == {"inputs", "lock"}
    assert build(above, "offline", tmp_path / "cache", silent)
    second = built(above)
    assert first and second and first.digest != second.digest and failing(above) == {}
    assert first.digest not in {image.id for image in engine.client().images.list(all=True)}


def test_what_an_image_must_not_hold_is_found(below: Image, tmp_path: Path) -> None:
    dockerfile = below.folder / "Dockerfile"
    bad = "RUN cp /bin/true /usr/bin/mighty && chmod 4755 /usr/bin/mighty && mkdir -p /root/.cache/pip\nUSER agent\n"
    dockerfile.write_text(dockerfile.read_text() + bad)
    image = below.model_copy(update={"definition": below.definition.model_copy(update={"works": "import no_such_module"})})
    build(image, "registry", tmp_path / "cache", silent)
    found = failing(image)
    assert "/usr/bin/mighty is set-uid" in found["contents"] and "/root/.cache/pip is there" in found["contents"]
    assert "no_such_module" in found["works"]
    assert found["user"] == "agent by default"


def test_an_image_that_is_not_built_is_one_line_that_says_how(below: Image) -> None:
    (only,) = verify(below)
    assert (only.ok, only.detail, only.hint) == (False, "not built", f"dojo images build {below.name}")


def test_a_failing_step_is_told_with_its_own_words_and_where_the_rest_is(below: Image, tmp_path: Path) -> None:
    (below.folder / "Dockerfile").write_text("ARG BASE=scratch\nFROM ${BASE}\nRUN echo 'ERROR: the moon is missing' && false\n")
    with pytest.raises(MissingError, match="ERROR: the moon is missing") as caught:
        build(below, "registry", tmp_path / "cache", silent)
    log = Path(caught.value.hint.split(": ")[1])
    assert "the moon is missing" in log.read_text()
    assert built(below) is None and not lock_path(below).exists()


def test_a_base_that_is_there_is_taken_as_the_registrys(below: Image) -> None:
    assert choose_way(below, None, silent) == "registry"
    assert choose_way(below, "offline", silent) == "offline"


def test_what_stands_on_an_offline_build_is_built_offline_too(
    foundation: Image, above: Image, local_index: Path, tmp_path: Path
) -> None:
    lock = lock_path(above)
    lock.write_text(lock.read_text().replace('"registry"', '"offline"'))
    assert choose_way(above, None, silent) == "offline"


def test_without_mmdebstrap_or_a_registry_it_is_said_what_to_do(
    below: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingError, match="built from a registry only"):
        build(below, "offline", tmp_path / "cache", silent)
    debian = below.model_copy(update={"definition": below.definition.model_copy(update={"debian": ("python3",)})})
    monkeypatch.setattr(building.shutil, "which", lambda name: None)
    with pytest.raises(MissingError, match="mmdebstrap is not installed") as caught:
        build(debian, "offline", tmp_path / "cache", silent)
    assert caught.value.hint == "apt-get install mmdebstrap"


def test_two_builds_at_once_make_the_image_once(below: Image, tmp_path: Path) -> None:
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(build(below, "registry", tmp_path / "cache", silent))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, False, True]
