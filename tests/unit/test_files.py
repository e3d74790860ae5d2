from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from harness.files import below, build_folder, folder_bytes, sha256_file, tree_digest


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "made"
    with build_folder(target) as part:
        assert part is not None
        (part / "file").write_text("x")
        (part / "file").chmod(0o600)
        assert not target.exists()
    assert (target / "file").read_text() == "x"
    assert (target / "file").stat().st_mode & 0o777 == 0o644 and target.stat().st_mode & 0o777 == 0o755


def test_a_folder_that_is_there_is_not_built_again(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    with build_folder(tmp_path / "made") as part:
        assert part is None


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broke"), build_folder(tmp_path / "made") as part:
        assert part is not None
        (part / "half").write_text("x")
        raise RuntimeError("broke")
    assert [p.name for p in tmp_path.iterdir()] == [".made.lock"]


def test_remains_of_a_killed_builder_are_removed_by_the_next(tmp_path: Path) -> None:
    remains = tmp_path / ".made.part-dead"
    remains.mkdir()
    (remains / "half").write_text("x")
    with build_folder(tmp_path / "made") as part:
        assert part is not None
    assert not remains.exists()


def test_two_builders_build_once(tmp_path: Path) -> None:
    built: list[bool] = []
    inside, release = threading.Event(), threading.Event()

    def build(wait: bool) -> None:
        with build_folder(tmp_path / "made") as part:
            built.append(part is not None)
            if wait:
                inside.set()
                assert release.wait(20)

    first = threading.Thread(target=build, args=(True,))
    first.start()
    assert inside.wait(20)
    second = threading.Thread(target=build, args=(False,))
    second.start()
    release.set()
    first.join(20)
    second.join(20)
    assert built == [True, False]


def test_a_digest_tells_content_names_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("one")
    first = tree_digest(tmp_path)
    (tmp_path / "a" / "__pycache__").mkdir()
    (tmp_path / "a" / "__pycache__" / "x.pyc").write_text("noise")
    assert tree_digest(tmp_path) == first
    (tmp_path / "a" / "file").write_text("two")
    changed = tree_digest(tmp_path)
    (tmp_path / "a" / "file").rename(tmp_path / "a" / "other")
    assert len({first, changed, tree_digest(tmp_path)}) == 3
    assert tree_digest(tmp_path, skip=["a"]) == tree_digest(tmp_path / "a", skip=["other"])


def test_a_file_s_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_text("abc")
    assert sha256_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_folder_is_weighed_while_others_take_files_and_folders_away(tmp_path: Path) -> None:
    (tmp_path / "kept" / "deep").mkdir(parents=True)
    (tmp_path / "kept" / "deep" / "file").write_bytes(b"x" * 7)
    (tmp_path / "kept" / "link").symlink_to("deep/file")
    (tmp_path / "going" / "deep").mkdir(parents=True)
    (tmp_path / "going" / "deep" / "file").write_bytes(b"x" * 5)
    assert folder_bytes(tmp_path) == 12, "a link is no bytes"
    seen = below(tmp_path)
    first = next(seen)
    shutil.rmtree(tmp_path / "going")
    assert {first, *seen} >= {tmp_path / "kept", tmp_path / "kept" / "deep" / "file", tmp_path / "kept" / "link"}
    assert folder_bytes(tmp_path) == 7
    assert folder_bytes(tmp_path / "going") == 0
