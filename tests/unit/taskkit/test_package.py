from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from harness.files import sha256_file
from harness.spec.errors import MissingError
from harness.taskkit.building.package import PackageFile, fetch_package, unpack_wheel


def wheel_of(folder: Path, name: str, members: dict[str, str]) -> Path:
    """A minimal wheel that pip accepts."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
    info = f"{name.replace('-', '_')}-1.0.dist-info"
    members = {
        **members,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index that is a folder: pip looks nowhere else."""
    folder = tmp_path / "index"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_a_pinned_package_is_fetched_once_and_only_its_wanted_members_are_kept(index: Path, tmp_path: Path) -> None:
    wheel = wheel_of(index, "dojo-test-data", {"data/table.tsv": "a\tb\n", "data/code.py": "raise SystemExit"})
    package = PackageFile("dojo-test-data", "1.0", sha256_file(wheel), ("*.tsv",))
    said: list[str] = []
    folder = fetch_package(package, tmp_path / "cache", said.append)
    assert folder == tmp_path / "cache" / "packages" / "dojo-test-data-1.0"
    assert [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()] == ["data/table.tsv"]
    assert said == ["fetching dojo-test-data==1.0 from the package index"]
    wheel.unlink()
    assert fetch_package(package, tmp_path / "cache", said.append) == folder and len(said) == 1


def test_another_file_than_the_pinned_one_is_refused(index: Path, tmp_path: Path) -> None:
    wheel_of(index, "dojo-test-data", {"data/table.tsv": "other"})
    package = PackageFile("dojo-test-data", "1.0", "0" * 64, ("*.tsv",))
    with pytest.raises(MissingError, match="not the pinned 000") as caught:
        fetch_package(package, tmp_path / "cache")
    assert "do not use it" in caught.value.hint
    assert not (tmp_path / "cache" / "packages" / "dojo-test-data-1.0").exists()


def test_a_package_that_cannot_be_had_says_how_to_check(index: Path, tmp_path: Path) -> None:
    index.mkdir()
    with pytest.raises(MissingError, match="dojo-test-data==9") as caught:
        fetch_package(PackageFile("dojo-test-data", "9", "0" * 64), tmp_path / "cache")
    assert "pip download" in caught.value.hint and caught.value.exit_code == 3


def test_a_member_that_leads_outside_is_refused(tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path / "w", "evil", {"../outside.txt": "x"})
    with pytest.raises(MissingError, match="leads outside"):
        unpack_wheel(wheel, tmp_path / "target", ["*.txt"])
    assert not (tmp_path / "outside.txt").exists()


def test_a_wheel_without_the_wanted_members_is_refused(tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path / "w", "empty", {"a.txt": "x"})
    with pytest.raises(MissingError, match="holds none of"):
        unpack_wheel(wheel, tmp_path / "target", ["*.tsv"])
