"""The recorded packages of an image: written, read back, and noticed when the project wants others."""

import platform
from dataclasses import replace
from pathlib import Path

import pytest

from harness.sandbox.images import find_image
from harness.sandbox.images.pins import Pin, Pins, agree, digest_of, normal, pin_path, read_pins
from harness.spec.errors import SpecError

PINS = Pins(
    digest_of(["torch==2.0"]), platform.machine(), (Pin("made-here", "0.1", "b" * 64, source=True), Pin("torch", "2.0", "a" * 64))
)


def test_pins_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "pins.txt"
    path.write_text(PINS.text())
    assert read_pins(path) == PINS
    assert read_pins(tmp_path / "none.txt") is None


def test_pins_are_a_requirements_file_of_pip_without_any_address() -> None:
    lines = [line for line in PINS.text().splitlines() if not line.startswith("#")]
    assert lines[1] == f"torch==2.0 --hash=sha256:{'a' * 64}"
    assert lines[0].endswith("  # source")
    assert PINS.constraints() == "made-here==0.1\ntorch==2.0\n"


@pytest.mark.parametrize("line", ["torch>=2", "torch==2.0", f"torch==2.0 --hash=md5:{'a' * 32}", "--index-url x", ""])
def test_a_line_without_version_and_hash_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "pins.txt"
    path.write_text(PINS.text() + line + "\nlast==1 --hash=sha256:" + "c" * 64 + "\n")
    with pytest.raises(SpecError, match=r"pins.txt:4 is no pinned package"):
        read_pins(path)


def test_pins_hold_for_the_requirements_and_versions_they_were_made_of_alone() -> None:
    assert agree(PINS, ["torch==2.0"], "Torch==2.0\nunrelated==7\n")
    assert not agree(PINS, ["torch==2.0", "more"], "torch==2.0\n")
    assert not agree(PINS, ["torch==2.0"], "torch==2.1\n")


def test_hashes_are_of_one_kind_of_machine() -> None:
    assert PINS.hashed
    assert not replace(PINS, machine="pdp11").hashed


def test_names_have_one_spelling() -> None:
    assert normal("Rouge_Score") == normal("rouge.score") == "rouge-score"


def test_an_image_uses_its_pins_while_they_agree_and_the_projects_versions_when_they_do_not(checkout: Path) -> None:
    image = find_image("above", "cpu", checkout)
    assert image.pins() is None and image.constraints() == "dojo_small==1.0\n"
    path = pin_path(checkout, "above", "cpu")
    path.parent.mkdir()
    pins = Pins(digest_of(image.requirements()), "any", (Pin("dep", "3", "d" * 64), Pin("dojo-small", "1.0", "a" * 64)))
    path.write_text(pins.text())
    assert image.pins() == pins and image.constraints() == "dep==3\ndojo-small==1.0\n"
    (checkout / "constraints.txt").write_text("dojo_small==2.0\n")
    assert image.pins() is None and image.constraints() == "dojo_small==2.0\n"
