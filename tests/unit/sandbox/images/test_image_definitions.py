"""What images there are, what each is made of, and how that is told apart."""

import re
from pathlib import Path

import pytest

from harness.sandbox.images import all_images, find_image, inputs_digest, reference
from harness.sandbox.images.definition import project_files
from harness.spec.errors import MissingError, NotFoundError, SpecError


def digests(checkout: Path) -> tuple[str, str]:
    return inputs_digest(find_image("below", "bookworm", checkout)), inputs_digest(find_image("above", "cpu", checkout))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_every_image_of_the_project_has_a_dockerfile_with_a_base_that_can_be_chosen() -> None:
    images = all_images()
    assert {(i.name, i.variant) for i in images} >= {("base", "bookworm"), ("task", "cpu"), ("task", "cuda"), ("grader", "cpu")}
    for image in images:
        text = (image.folder / "Dockerfile").read_text()
        assert "ARG BASE=" in text and "FROM ${BASE}" in text
        assert "# syntax" not in text and "index-url" not in text


def test_the_grader_is_built_on_the_task_image_so_that_layers_are_shared() -> None:
    grader = find_image("grader", "cpu")
    assert grader.parent == find_image("task", "cpu")
    assert grader.foundation == find_image("base", "bookworm")


def test_recorded_packages_are_those_that_the_project_wants() -> None:
    for image in (find_image("task", "cpu"), find_image("grader", "cpu"), find_image("grader-vllm", "cpu")):
        pins = image.pins()
        assert pins is not None, f"{image.tag}: run python -m harness.sandbox.images.resolve"
        names = {pin.name for pin in pins.packages}
        assert not [name for name in names if name.startswith(("nvidia-", "triton", "cuda-"))]
        assert image.constraints() == pins.constraints()


def test_an_image_with_a_list_of_its_own_has_just_what_stands_there(checkout: Path) -> None:
    (checkout / "images" / "above" / "cpu.txt").write_text("# whole\ndojo_small==1.1\n\nother==2 \n")
    (checkout / "images" / "above" / "cuda.txt").write_text("dojo_small==1.2\n")
    listed = 'listed = { cpu = "images/above/cpu.txt", cuda = "images/above/cuda.txt" }'
    edit(checkout / "images" / "images.toml", 'extras = ["small"]', listed)
    cpu, cuda = (find_image("above", variant, checkout) for variant in ("cpu", "cuda"))
    assert cpu.requirements() == ("dojo_small==1.1", "other==2") and cuda.requirements() == ("dojo_small==1.2",)
    before = inputs_digest(cpu)
    edit(checkout / "constraints.txt", "1.0", "1.1")
    assert cpu.constraints() == "" and inputs_digest(cpu) == before
    edit(checkout / "images" / "above" / "cpu.txt", "other==2", "other==3")
    assert inputs_digest(cpu) != before


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
def test_vllm_is_listed_whole_with_a_torch_of_the_variant(variant: str) -> None:
    lines = find_image("grader-vllm", variant).requirements()
    assert all(re.fullmatch(r"[\w.-]+==[\w.!]+", line) for line in lines) and len(lines) == len(set(lines)) > 100
    assert f"vllm{'-cpu' * (variant == 'cpu')}==0.32.0" in lines and [line for line in lines if line.startswith("torch==")]
    assert any(line.startswith("nvidia-") for line in lines) == (variant == "cuda")


def test_nothing_changes_the_digest_of_an_image_but_what_it_is_made_of(checkout: Path) -> None:
    before = digests(checkout)
    (checkout / "README.md").write_text("words")
    edit(checkout / "pyproject.toml", 'name = "x"', 'name = "y"')
    assert digests(checkout) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("images/above/Dockerfile", "USER agent", "USER root"),
        ("constraints.txt", "1.0", "1.1"),
        ("pyproject.toml", '"dojo_small"', '"dojo_small", "other"'),
        ("images/images.toml", 'extras = ["small"]', 'extras = ["small"]\npackages = ["gcc"]'),
    ],
)
def test_a_change_of_its_inputs_changes_an_image_and_not_what_it_stands_on(checkout: Path, file: str, old: str, new: str) -> None:
    below, above = digests(checkout)
    edit(checkout / file, old, new)
    after = digests(checkout)
    assert after[0] == below and after[1] != above


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [("images/below/Dockerfile", "ENV LANG", "ENV LC_ALL"), ("images/images.toml", "python:3.11-slim", "python:3.12-slim")],
)
def test_a_change_below_changes_everything_above(checkout: Path, file: str, old: str, new: str) -> None:
    below, above = digests(checkout)
    edit(checkout / file, old, new)
    after = digests(checkout)
    assert after[0] != below and after[1] != above


def test_files_of_the_project_in_an_image_count_and_what_a_build_writes_does_not(checkout: Path) -> None:
    edit(checkout / "images" / "images.toml", 'extras = ["small"]', 'extras = ["small"]\nproject = ["images", "scripts"]')
    image = find_image("above", "cpu", checkout)
    before = inputs_digest(image)
    (checkout / "images" / "lock.json").write_text("{}")
    assert inputs_digest(image) == before and not image.pinned
    (checkout / "scripts" / "more.sh").write_text("true")
    assert inputs_digest(image) != before
    assert checkout / "scripts" / "more.sh" in project_files(image)


def test_a_reference_can_be_given_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOJO_IMAGE_TASK", raising=False)
    assert reference("task", "cpu") == "dojo/task:cpu"
    assert reference("base", "cpu") == "dojo/base:bookworm"
    assert reference("grader-vllm", "cuda") == "dojo/grader-vllm:cuda"
    monkeypatch.setenv("DOJO_IMAGE_GRADER_VLLM", "registry.example/graders:7")
    assert reference("grader-vllm", "cuda") == "registry.example/graders:7"
    monkeypatch.setenv("DOJO_IMAGE_TASK", "registry.example/own@sha256:1")
    assert reference("task", "cuda") == "registry.example/own@sha256:1"


def test_an_unknown_image_or_variant_says_which_there_are() -> None:
    with pytest.raises(NotFoundError) as caught:
        find_image("taks", "cpu")
    assert "task" in caught.value.hint
    with pytest.raises(NotFoundError, match="variant of the image task named 'rocm'"):
        find_image("task", "rocm")


def test_a_folder_that_is_no_checkout_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="folder images/") as caught:
        all_images(tmp_path)
    assert "DOJO_IMAGE_TASK" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('on = "below"', 'on = "below"\nfrom = "x"', "either `on` another or `from`"),
        ("cpu = 1, cuda = 1", "cpu = 1", "build_mb has a number for each variant"),
        ("holds =", "hold =", "hold"),
        ('extras = ["small"]', 'extras = ["small"]\nlisted = { cpu = "x", cuda = "y" }', "takes the place of `extras`"),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused(checkout: Path, old: str, new: str, said: str) -> None:
    edit(checkout / "images" / "images.toml", old, new)
    with pytest.raises(SpecError, match=said):
        all_images(checkout)
