"""Hostile and honest archives, one row each (THREATS: archive tricks)."""

import io
import os
import tarfile

import pytest

from harness.session.collect import Caps, collect, collect_readable, manifest_of, seal, unseal_and_remove
from harness.spec.errors import StoreError, SubmissionRefused

CAPS = Caps(bytes=10_000, files=5, file_bytes=8_000)


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> list[bytes]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    raw = out.getvalue()
    return [raw[i : i + 700] for i in range(0, len(raw), 700)]


def file(name: str, data: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info, data


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def test_an_honest_directory_arrives_whole_with_a_manifest(tmp_path):
    pieces = tar_of(special("sub", tarfile.DIRTYPE), file("sub/a.bin", b"A" * 5000), file("b.json", b"{}"))
    manifest = collect(pieces, tmp_path / "in", CAPS)
    assert [(f.path, f.size) for f in manifest.files] == [("b.json", 2), ("sub/a.bin", 5000)]
    assert (tmp_path / "in/sub/a.bin").read_bytes() == b"A" * 5000
    assert manifest == manifest_of(tmp_path / "in")


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ([special("a", tarfile.SYMTYPE, "/etc/passwd")], "link"),
        ([file("x"), special("a", tarfile.LNKTYPE, "x")], "link"),
        ([special("a", tarfile.CHRTYPE)], "device"),
        ([special("a", tarfile.FIFOTYPE)], "device"),
        ([file("../a")], "path"),
        ([file("/etc/a")], "path"),
        ([file("a/../../b")], "path"),
        ([file("a\nb")], "path"),
        ([file("a" * 300)], "path"),
        ([file("a"), file("a")], "duplicate"),
        ([file(f"f{i}") for i in range(6)], "too_many_files"),
        ([special(f"d{i}", tarfile.DIRTYPE) for i in range(30)], "too_many_files"),
        ([file("big", b"x" * 9000)], "too_large"),
        ([file("a", b"x" * 7000), file("b", b"x" * 7000)], "too_large"),
        ([], "empty"),
    ],
)
def test_a_hostile_archive_is_refused_by_type_and_leaves_nothing(tmp_path, members, code):
    with pytest.raises(SubmissionRefused) as refused:
        collect(tar_of(*members), tmp_path / "in", CAPS)
    assert refused.value.code == code and refused.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_broken_stream_is_refused(tmp_path):
    with pytest.raises(SubmissionRefused) as refused:
        collect([b"\x01garbage" * 200], tmp_path / "in", CAPS)
    assert refused.value.code == "archive" and not (tmp_path / "in").exists()


def test_a_full_disk_of_the_harness_is_an_infrastructure_error_with_nothing_left(tmp_path, monkeypatch):
    real = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError) as refused:
        collect(tar_of(file("a")), tmp_path / "in", CAPS)
    monkeypatch.setattr(os, "fsync", real)
    assert refused.value.code == "disk_full" and not (tmp_path / "in").exists()


def test_what_people_read_is_kept_even_if_something_hostile_lies_beside_it(tmp_path):
    pieces = tar_of(file("report.md", b"ok"), special("l", tarfile.SYMTYPE, "/etc"), file("big", b"x" * 9000), file("z"))
    left_out = collect_readable(pieces, tmp_path / "w", CAPS)
    assert sorted(p.name for p in (tmp_path / "w").iterdir()) == ["report.md", "z"]
    assert len(left_out) == 2 and "link" in left_out[0] and "cap" in left_out[1]


def test_a_sealed_directory_is_read_only_and_can_be_removed_by_the_harness(tmp_path):
    collect(tar_of(file("a/b")), tmp_path / "in", CAPS)
    seal(tmp_path / "in")
    assert all(not p.stat().st_mode & 0o222 for p in (tmp_path / "in").rglob("*"))
    unseal_and_remove(tmp_path / "in")
    assert not (tmp_path / "in").exists()
