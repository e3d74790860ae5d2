"""Folders in pieces of a bounded size: cut in one place, joined and checked in another. Standard library alone."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
_BLOCK = 1 << 20


class Damaged(Exception):
    """What arrived is not what was packed."""


def cut(folder: Path, out: Path, most: int, about: dict[str, Any]) -> dict[str, Any]:
    """Cut everything in ``folder`` into pieces of at most ``most`` bytes in ``out``, replacing what was packed there.

    Returns:
        What is written into the manifest: ``about``, every file and every piece with its size and SHA-256.
    """
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("piece-*"), out / MANIFEST):
        old.unlink(missing_ok=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    whole = out / "whole.part"
    with tarfile.open(whole, "w") as archive:
        for path in files:
            archive.add(path, path.relative_to(folder).as_posix(), recursive=False)
    pieces: list[dict[str, Any]] = []
    with whole.open("rb") as stream:
        while size := min(most, whole.stat().st_size - stream.tell()):
            piece = out / f"piece-{len(pieces) + 1:02d}"
            with piece.open("wb") as target:
                _copy(stream, target, size)
            pieces.append(_told(piece, piece.name))
    whole.unlink()
    manifest = {**about, "files": [_told(path, path.relative_to(folder).as_posix()) for path in files], "pieces": pieces}
    (out / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest


def take(kit: Path, store: Path) -> list[str]:
    """Copy the pieces that came along into ``store``, where they stay when the next ones come; return those not there yet.

    Raises:
        Damaged: a piece is not the one that was packed, or it belongs to another packing than those taken before.
    """
    store.mkdir(parents=True, exist_ok=True)
    if (kit / MANIFEST).is_file():
        if (store / MANIFEST).is_file() and (store / MANIFEST).read_bytes() != (kit / MANIFEST).read_bytes():
            shutil.rmtree(store)
            store.mkdir()
        shutil.copyfile(kit / MANIFEST, store / MANIFEST)
    manifest = read(store)
    missing = []
    for piece in manifest["pieces"]:
        target, source = store / piece["path"], kit / piece["path"]
        if target.is_file() and _told(target, piece["path"]) == piece:
            continue
        if not source.is_file():
            missing.append(piece["path"])
            continue
        if _told(source, piece["path"]) != piece:
            raise Damaged(f"{source} is not the piece that the manifest names: pack or copy it again")
        shutil.copyfile(source, target)
    return missing


def join(store: Path, target: Path) -> None:
    """Unpack what the pieces make together and look at every file; nothing is done where that was done before.

    Raises:
        Damaged: a file is missing or differs.
    """
    manifest, done = read(store), target.with_name(f"{target.name}.done")
    if done.is_file() and done.read_bytes() == (store / MANIFEST).read_bytes():
        return
    shutil.rmtree(target, ignore_errors=True)
    whole = store / "whole.part"
    with whole.open("wb") as joined:
        for piece in manifest["pieces"]:
            with (store / piece["path"]).open("rb") as stream:
                _copy(stream, joined, piece["size"])
    with tarfile.open(whole) as archive:
        archive.extractall(target, filter="data")
    whole.unlink()
    for file in manifest["files"]:
        path = target / file["path"]
        if not path.is_file() or _told(path, file["path"]) != file:
            raise Damaged(f"{file['path']} is not what was packed: pack again")
    done.write_bytes((store / MANIFEST).read_bytes())


def read(store: Path) -> dict[str, Any]:
    """Return the manifest.

    Raises:
        Damaged: there is none.
    """
    try:
        found: dict[str, Any] = json.loads((store / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise Damaged(f"{store / MANIFEST} cannot be read: {exc}") from exc
    return found


def _told(path: Path, name: str) -> dict[str, Any]:
    with path.open("rb") as stream:
        return {
            "path": name,
            "size": os.fstat(stream.fileno()).st_size,
            "sha256": hashlib.file_digest(stream, "sha256").hexdigest(),
        }


def _copy(source: Any, target: Any, size: int) -> None:
    while size:
        block = source.read(min(_BLOCK, size))
        if not block:
            raise Damaged("a piece is shorter than the manifest says")
        target.write(block)
        size -= len(block)
