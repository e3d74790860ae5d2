"""Pieces arrive one by one, in any order, and make what was packed or nothing."""

from pathlib import Path

import pytest
from gpu_kit import pieces


def arrived(out: Path, kit: Path, *names: str) -> Path:
    """Lay the manifest and these pieces into another machine's folder, and nothing else."""
    for old in kit.glob("*"):
        old.unlink()
    kit.mkdir(exist_ok=True)
    for name in (pieces.MANIFEST, *names):
        (kit / name).write_bytes((out / name).read_bytes())
    return kit


def test_pieces_that_come_one_at_a_time_make_the_whole(content: Path, tmp_path: Path) -> None:
    out, store = tmp_path / "out", tmp_path / "store"
    manifest = pieces.cut(content, out, 4096, {"python": "3.12"})
    names = [piece["path"] for piece in manifest["pieces"]]
    assert len(names) > 2 and all(piece["size"] <= 4096 for piece in manifest["pieces"])
    for number in reversed(range(len(names))):
        missing = pieces.take(arrived(out, tmp_path / "kit", names[number]), store)
        assert missing == names[:number]
    pieces.join(store, tmp_path / "joined")
    for file in content.rglob("*"):
        assert file.is_dir() or (tmp_path / "joined" / file.relative_to(content)).read_bytes() == file.read_bytes()
    assert pieces.read(store)["python"] == "3.12"


def test_what_is_joined_is_not_joined_again(content: Path, tmp_path: Path) -> None:
    pieces.cut(content, tmp_path / "out", 10**9, {})
    pieces.take(tmp_path / "out", tmp_path / "store")
    pieces.join(tmp_path / "store", tmp_path / "joined")
    (tmp_path / "joined" / "mark").touch()
    pieces.join(tmp_path / "store", tmp_path / "joined")
    assert (tmp_path / "joined" / "mark").exists()


def test_a_piece_that_was_altered_on_the_way_is_refused_by_name(content: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pieces.cut(content, out, 4096, {})
    (out / "piece-02").write_bytes(b"x" * (out / "piece-02").stat().st_size)
    with pytest.raises(pieces.Damaged, match="piece-02 is not the piece"):
        pieces.take(out, tmp_path / "store")


def test_pieces_of_another_packing_replace_those_taken_before(content: Path, tmp_path: Path) -> None:
    out, store = tmp_path / "out", tmp_path / "store"
    pieces.cut(content, out, 10**9, {"made": 1})
    assert pieces.take(out, store) == []
    (content / "more").write_text("more")
    pieces.cut(content, out, 10**9, {"made": 2})
    assert pieces.take(arrived(out, tmp_path / "kit"), store) == ["piece-01"]


def test_without_a_manifest_nothing_can_be_taken(tmp_path: Path) -> None:
    with pytest.raises(pieces.Damaged, match=r"manifest\.json"):
        pieces.take(tmp_path / "none", tmp_path / "store")
