"""A kept workspace: packed whole, listed, read and taken out so that nothing acts on who looks."""

import contextlib
import os
import zipfile
from pathlib import Path

import pytest

from harness.spec.errors import MissingError, NotFoundError, StoreError, UsageError
from harness.store.kept import KeptFiles, pack, tame


@pytest.fixture
def kept(tmp_path: Path) -> KeptFiles:
    folder = tmp_path / "from"
    for name, text in {".git/config": "evil", "out/HEAD": "ref", "report.md": "# all", "iterations/001/loss.csv": "1\n"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "link").symlink_to("/etc/hostname")
    pack(folder, tmp_path / "workspace.zip")
    return KeptFiles(tmp_path / "workspace.zip")


def test_every_file_is_kept_with_its_name_and_no_link(kept: KeptFiles) -> None:
    assert kept.sizes() == {".git/config": 4, "iterations/001/loss.csv": 2, "out/HEAD": 3, "report.md": 5}
    assert kept.read(".git/config") == b"evil" and kept.read("report.md") == b"# all"
    with pytest.raises(NotFoundError, match=r"report\.txt") as caught:
        kept.read("report.txt")
    assert "report.md" in caught.value.hint


def test_the_same_files_make_the_same_archive_whenever_they_are_packed(kept: KeptFiles, tmp_path: Path) -> None:
    first = (tmp_path / "workspace.zip").read_bytes()
    os.utime(tmp_path / "from" / "report.md", (1, 1))
    pack(tmp_path / "from", tmp_path / "workspace.zip")
    assert (tmp_path / "workspace.zip").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["from", "workspace.zip"]


def test_text_is_compressed_and_what_does_not_shrink_is_not(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "curve.csv").write_text("1,2\n" * 10_000)
    (tmp_path / "from" / "noise").write_bytes(os.urandom(100_000))
    (tmp_path / "from" / "empty").write_bytes(b"")
    pack(tmp_path / "from", tmp_path / "workspace.zip")
    assert 100_000 < (tmp_path / "workspace.zip").stat().st_size < 102_000
    kept = KeptFiles(tmp_path / "workspace.zip")
    assert all(kept.read(name) == (tmp_path / "from" / name).read_bytes() for name in ("curve.csv", "noise", "empty"))


def test_nothing_half_is_left_where_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a").write_text("x")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        pack(tmp_path / "from", tmp_path / "workspace.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["from"]


def test_what_tools_act_on_is_taken_out_under_other_names(kept: KeptFiles, tmp_path: Path) -> None:
    written = kept.unpack(tmp_path / "out")
    assert written[".git/config"] == "dot.git/config" and written["out/HEAD"] == "out/HEAD.txt"
    assert (tmp_path / "out" / "dot.git" / "config").read_text() == "evil"
    assert (tmp_path / "out" / "iterations" / "001" / "loss.csv").read_text() == "1\n"
    with pytest.raises(UsageError, match="exists already"):
        kept.unpack(tmp_path / "out")


def test_some_files_are_taken_out_by_name_or_glob(kept: KeptFiles, tmp_path: Path) -> None:
    assert list(kept.unpack(tmp_path / "some", ["iterations/*", "report.md"])) == ["iterations/001/loss.csv", "report.md"]
    with pytest.raises(NotFoundError):
        kept.unpack(tmp_path / "none", ["nothing*"])
    assert not (tmp_path / "none").exists()


def test_no_two_names_become_one() -> None:
    names = [".a", "dot.a", "dotdot.a", "..a", "HEAD", "HEAD.txt", "head", "a/.b", "a/dot.b", "dotted", "overhead"]
    assert len({tame(name) for name in names}) == len(names)
    assert tame("dotted") == "dotted" and tame("overhead") == "overhead" and tame("head") == "head.txt"


def test_the_folder_of_an_earlier_version_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "workspace" / "deep").mkdir(parents=True)
    (tmp_path / "workspace" / "deep" / "note").write_text("x")
    (tmp_path / "workspace" / "link").symlink_to("/etc/hostname")
    kept = KeptFiles(tmp_path / "workspace.zip")
    assert kept.sizes() == {"deep/note": 1} and kept.read("deep/note") == b"x"


def test_where_nothing_was_kept_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="is not there"):
        KeptFiles(tmp_path / "workspace.zip").sizes()


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out"])
def test_an_archive_of_somebody_else_s_writes_nothing_elsewhere(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "workspace.zip", "w") as archive:
        archive.writestr(name, "x")
    with contextlib.suppress(StoreError):  # two dots are a name like others once it is changed
        KeptFiles(tmp_path / "workspace.zip").unpack(tmp_path / "in")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "workspace.zip"] and not Path("/out").exists()


def test_a_damaged_archive_and_one_that_claims_too_much_are_said(tmp_path: Path) -> None:
    (tmp_path / "workspace.zip").write_bytes(b"PK no zip")
    with pytest.raises(StoreError, match="damaged"):
        KeptFiles(tmp_path / "workspace.zip").sizes()
    with zipfile.ZipFile(tmp_path / "workspace.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(20 << 20))
    with pytest.raises(StoreError, match="claims"):
        KeptFiles(tmp_path / "workspace.zip").read("bomb")
