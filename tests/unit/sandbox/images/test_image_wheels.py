"""Wheels fetched with the host's pip: once, checked, and never the wrong torch. The index is a folder; pip is real."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from harness.sandbox.images import find_image
from harness.sandbox.images.debian import fetched_packages
from harness.sandbox.images.definition import Image
from harness.sandbox.images.pins import pin_path
from harness.sandbox.images.resolve import is_torch, refuse_wrong_torch, resolve
from harness.sandbox.images.wheels import fetch_wheels, pack
from harness.spec.errors import MissingError
from tests.unit.sandbox.images.conftest import make_wheel


@pytest.fixture
def image(checkout: Path) -> Image:
    return find_image("above", "cpu", checkout)


def with_torch(image: Image) -> Image:
    pyproject = image.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('"dojo_small"', '"dojo_small", "torch==2.13.0"'))
    return image


def record(image: Image) -> Path:
    path = pin_path(image.root, image.name, image.variant)
    path.parent.mkdir(exist_ok=True)
    path.write_text(resolve(image).text())
    return path


_MMDEBSTRAP = """#!/bin/sh
for word; do case "$word" in --customize-hook=*) MMDEBSTRAP_APT_CONFIG=told sh -c "${word#--customize-hook=}";; esac; done
"""
_APT_GET = """#!/bin/sh
[ "$1 $APT_CONFIG" = "download told" ] && echo "$2 of this suite" > "$2_1.0_amd64.deb"
"""


def test_debian_packages_of_an_image_on_another_lie_beside_its_wheels(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, programs = checkout / "images" / "images.toml", tmp_path / "programs"
    images.write_text(
        images.read_text().replace("user =", 'packages = ["libbase1"]\nuser =').replace("on =", 'packages = ["lib1"]\non =')
    )
    programs.mkdir()
    for name, text in (("mmdebstrap", _MMDEBSTRAP), ("apt-get", _APT_GET)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    tar, said = io.BytesIO(), []
    with fetched_packages(find_image("above", "cpu", checkout), tmp_path, said.append) as debs:
        pack(None, tar, debs)
    assert said == ["fetching lib1 from Debian's packages"] and not list(tmp_path.glob("debs-*"))
    with tarfile.open(fileobj=io.BytesIO(tar.getvalue())) as written:
        assert written.getnames() == ["wheels", "wheels/lib1_1.0_amd64.deb"]
        assert written.extractfile("wheels/lib1_1.0_amd64.deb").read() == b"lib1 of this suite\n"  # type: ignore[union-attr]
    with fetched_packages(find_image("below", "bookworm", checkout), tmp_path, said.append) as debs:
        assert debs == () and len(said) == 1  # the system that it is made of has them already
    monkeypatch.setenv("PATH", "/nowhere")
    with (
        pytest.raises(MissingError, match="mmdebstrap is not installed"),
        fetched_packages(find_image("above", "cpu", checkout), tmp_path, said.append),
    ):
        pass


def test_what_pip_would_install_is_recorded_with_its_hash(image: Image, local_index: Path) -> None:
    pins = resolve(image)
    assert [(pin.name, pin.version, pin.source) for pin in pins.packages] == [
        ("dojo-small", "1.0", False),
        ("pip", "99.0", False),
    ]
    wheel = next(local_index.glob("dojo_small*"))
    assert pins.packages[0].sha256 == hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert str(local_index) not in pins.text()


def test_wheels_are_fetched_once(image: Image, local_index: Path, tmp_path: Path) -> None:
    record(image)
    said: list[str] = []
    folder = fetch_wheels(image, tmp_path / "cache", said.append)
    assert {p.name.split("-")[0] for p in folder.glob("*.whl")} == {"dojo_small", "pip"}
    assert said == ["fetching 2 wheels for dojo/above:cpu"]
    for wheel in local_index.iterdir():
        wheel.unlink()
    assert fetch_wheels(image, tmp_path / "cache", said.append) == folder


def test_a_fetch_that_broke_off_goes_on_with_what_it_has(image: Image, local_index: Path, tmp_path: Path) -> None:
    record(image)
    pip_wheel = next(local_index.glob("pip-*"))
    aside = pip_wheel.rename(tmp_path / "aside")
    with pytest.raises(MissingError, match="pip cannot fetch"):
        fetch_wheels(image, tmp_path / "cache", lambda text: None)
    aside.rename(pip_wheel)
    folder = fetch_wheels(image, tmp_path / "cache", lambda text: None)
    assert len(list(folder.glob("*.whl"))) == 2


def test_wheels_of_earlier_requirements_are_used_again_and_then_go(image: Image, local_index: Path, tmp_path: Path) -> None:
    earlier = fetch_wheels(image, tmp_path / "cache", lambda text: None)
    make_wheel(local_index, "dojo_more", "1.0")
    pyproject = image.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('"dojo_small"', '"dojo_small", "dojo_more"'))
    record(image)
    next(local_index.glob("dojo_small*")).unlink()
    folder = fetch_wheels(image, tmp_path / "cache", lambda text: None)
    assert {p.name.split("-")[0] for p in folder.glob("*.whl")} == {"dojo_more", "dojo_small", "pip"}
    assert folder != earlier and not earlier.exists()


def test_another_file_than_the_recorded_one_is_refused(image: Image, local_index: Path, tmp_path: Path) -> None:
    record(image)
    make_wheel(local_index, "dojo_small", "1.0", body="VALUE = 'not what was recorded'\n")
    with pytest.raises(MissingError, match="pip cannot fetch what dojo/above:cpu wants"):
        fetch_wheels(image, tmp_path / "cache", lambda text: None)
    assert not list((tmp_path / "cache").rglob("dojo_small*"))
    assert not list((tmp_path / "cache").rglob("complete"))


def test_without_a_record_pip_is_asked_and_that_is_said(image: Image, local_index: Path, tmp_path: Path) -> None:
    said: list[str] = []
    folder = fetch_wheels(image, tmp_path / "cache", said.append)
    assert "not recorded" in said[0] and "images.resolve" in said[0]
    assert len(list(folder.glob("*.whl"))) == 2


def test_a_package_that_is_nowhere_is_named(image: Image, local_index: Path) -> None:
    next(local_index.glob("dojo_small*")).unlink()
    with pytest.raises(MissingError, match=r"pip cannot find what dojo/above:cpu wants: .*dojo.small"):
        resolve(image)


def test_a_cuda_build_is_refused_for_a_cpu_image_before_anything_is_fetched(
    image: Image, local_index: Path, tmp_path: Path
) -> None:
    image = with_torch(image)
    make_wheel(local_index, "torch", "2.13.0", ["nvidia-cublas==13.0; platform_system == 'Linux'", "dojo_small"])
    with pytest.raises(MissingError, match=r"cuda build of torch==2.13.0 for dojo/above:cpu") as caught:
        fetch_wheels(image, tmp_path / "cache", lambda text: None)
    assert "TORCH_PIP_ARGS" in caught.value.hint
    assert not list((tmp_path / "cache").rglob("*.whl"))


def test_a_cpu_build_is_refused_for_a_cuda_image_and_fits_a_cpu_image(image: Image, local_index: Path) -> None:
    make_wheel(local_index, "torch", "2.13.0", ["dojo_small"])
    refuse_wrong_torch(with_torch(image))
    with pytest.raises(MissingError, match="would take a cpu build"):
        refuse_wrong_torch(find_image("above", "cuda", image.root))


def test_arguments_for_torch_reach_pip(image: Image, local_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheel(tmp_path / "torch-index", "torch", "2.13.0")
    with pytest.raises(MissingError, match="cannot find"):
        refuse_wrong_torch(with_torch(image))
    monkeypatch.setenv("TORCH_PIP_ARGS", f"--find-links '{tmp_path / 'torch-index'}'")
    refuse_wrong_torch(image)


@pytest.mark.parametrize("line", ["torch==2.13.0", "torch>=2", "Torch"])
def test_torch_is_known_in_every_spelling(line: str) -> None:
    assert is_torch(line)
    assert not is_torch("torchvision==1") and not is_torch("pytorch")


def test_wheels_lie_in_one_folder_of_a_tar_that_may_be_empty(local_index: Path) -> None:
    for folder, names in (
        (local_index, ["wheels", "wheels/dojo_small-1.0-py3-none-any.whl", "wheels/pip-99.0-py3-none-any.whl"]),
        (None, ["wheels"]),
    ):
        target = io.BytesIO()
        pack(folder, target)
        target.seek(0)
        with tarfile.open(fileobj=target) as tar:
            assert tar.getnames() == names
