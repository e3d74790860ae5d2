import io
import os
import socket
import tarfile
from pathlib import Path

import pytest

from harness.sandbox.execd.files import Refused
from harness.sandbox.execd.tarballs import LEFT_OUT, MAX_DEPTH, Room, has_holes, read_archive, write_archive


def packed(path: Path) -> bytes:
    out = io.BytesIO()
    write_archive(str(path), out)
    return out.getvalue()


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: member for member in tar}


def test_long_and_odd_names_survive(tmp_path: Path) -> None:
    names = ["x" * 200, "ä→😀", "new\nline", os.fsdecode(b"not-utf8-\xff")]
    for name in names:
        (tmp_path / name).write_bytes(b"1")
    assert set(members(packed(tmp_path))) == set(names)


def test_three_names_of_one_file_are_one_file_and_two_links(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10)
    os.link(tmp_path / "a", tmp_path / "b")
    os.link(tmp_path / "a", tmp_path / "c")
    found = members(packed(tmp_path))
    assert [found[name].type for name in "abc"] == [tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.LNKTYPE]
    assert found["b"].linkname == found["c"].linkname == "a"


def test_a_socket_is_left_out(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
    (tmp_path / "file").write_bytes(b"x")
    assert set(members(packed(tmp_path))) == {"file"}


def test_a_link_to_a_folder_is_not_entered(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "secret").write_bytes(b"x")
    (inside / "link").symlink_to(outside)
    found = members(packed(inside))
    assert set(found) == {"link"} and found["link"].issym()


def test_depth_has_an_end(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(MAX_DEPTH + 1):
        deep = deep / "d"
    deep.mkdir(parents=True)
    with pytest.raises(Refused) as raised:
        packed(tmp_path)
    assert raised.value.code == "too_deep"


def test_no_descriptor_is_left_open_by_a_failure(tmp_path: Path) -> None:
    deep = tmp_path / "/".join("d" * (MAX_DEPTH + 1))
    deep.mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Refused):
        packed(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_there_is_no_room_for_goes_out_by_name_and_the_sum_counts_only_what_is_sent(tmp_path: Path) -> None:
    for name, size in (("a", 600), ("b", 2000), ("c", 300), ("d", 200), ("e", 100)):
        (tmp_path / name).write_bytes(b"x" * size)
    out = io.BytesIO()
    write_archive(str(tmp_path), out, Room(file_bytes=1000, total_bytes=1000))
    found = members(out.getvalue())
    assert {name: member.size for name, member in found.items()} == {"a": 600, "b": 0, "c": 300, "d": 0, "e": 100}
    assert {name: member.pax_headers.get(LEFT_OUT) for name, member in found.items() if not member.size} == {
        "b": "too_large 2000",
        "d": "too_large 200",
    }


MIB = 1 << 20


@pytest.mark.parametrize(
    ("size", "pieces", "holes"),
    [
        (3 * MIB, [(0, 3 * MIB)], False),
        (3 * MIB, [(0, MIB), (2 * MIB, MIB)], False),  # programs leave a hole of this size by the way
        (4 * MIB, [(0, MIB)], True),
        (4 * MIB, [(3 * MIB, MIB)], True),
        (4 * MIB, [], True),
        (64 * MIB, [(n * 32_768, 1) for n in range(2000)], True),
        (0, [], False),
    ],
)
def test_a_file_is_told_from_its_holes(tmp_path: Path, size: int, pieces: list[tuple[int, int]], holes: bool) -> None:
    with (tmp_path / "file").open("wb+") as file:
        for start, length in pieces:
            file.seek(start)
            file.write(b"x" * length)
        file.truncate(size)
        file.flush()
        assert has_holes(file.fileno(), size) is holes
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0 or not holes


def archive_of(*infos: tarfile.TarInfo) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info in infos:
            info.size = 3 if info.isreg() else 0
            tar.addfile(info, io.BytesIO(b"new"))
    out.seek(0)
    return out


def test_nothing_is_written_through_a_link_that_lies_there(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"old")
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").symlink_to(tmp_path / "victim")
    read_archive(str(target), archive_of(tarfile.TarInfo("file")))
    assert (tmp_path / "victim").read_bytes() == b"old" and (target / "file").read_bytes() == b"new"
    assert not (target / "file").is_symlink()


@pytest.mark.parametrize("name", ["../out", "/abs", "a/../../out", "..", "./../out"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    with pytest.raises(Refused, match="no plain file or folder"):
        read_archive(str(target), archive_of(tarfile.TarInfo(name)))
    assert list(target.iterdir()) == [] and not (tmp_path / "out").exists()


def test_a_folder_in_the_way_of_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        read_archive(str(tmp_path), archive_of(tarfile.TarInfo("taken")))


def test_set_uid_bits_are_taken_off(tmp_path: Path) -> None:
    info = tarfile.TarInfo("program")
    info.mode = 0o6755
    read_archive(str(tmp_path), archive_of(info))
    assert (tmp_path / "program").stat().st_mode & 0o7777 == 0o755
