"""Agents that users upload: a tar archive, looked at member by member before anything of it is written."""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO

from harness.assets import agent_files
from harness.assets.agent_dir import load_agent, strangers_of
from harness.assets.agent_files import MAX_BYTES, MAX_DEPTH, MAX_FILES, Stranger, is_part, refuse
from harness.files import folder_bytes
from harness.spec.accounts import Role, Token
from harness.spec.errors import SpecError
from harness.spec.wire import UPLOAD, Uploaded
from harness.web.site import Site

_PIECE = 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def take_in(archive: IO[bytes], name: str, caller: Token, site: Site) -> Uploaded:
    """Take an agent in: its folder ``name`` at the archive's top, with the folders it shares beside it.

    Raises:
        SpecError: it is no archive, or holds what no agent may: links, devices, paths out of it, too much.
    """
    home = site.folder("uploads", caller.user)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=home, prefix=".new-") as fresh:
        folder = Path(fresh)
        digest = _unpack(archive, folder)
        if not _NAME.fullmatch(name) or not (folder / name).is_dir():
            raise SpecError(
                f"the archive has no folder {name[:80]!r}",
                hint="the agent's directory lies at its top; its name is of A-Z, a-z, 0-9, '_', '.' and '-'",
            )
        agent = load_agent(folder / name)
        for stranger in strangers_of(agent):
            refuse(stranger)
        if agent.config.install is not None and caller.role is not Role.OPERATOR:
            raise SpecError(
                f"agent {agent.name} installs packages", hint="an operator uploads it, or adds it to the service's own agents"
            )
        checks = site.dojo.check_agent(str(folder / name))
        for check in checks:
            if not check.ok and check.name != "README.md":
                raise SpecError(f"agent {agent.name}: {check.name}: {check.detail}", hint=check.hint)
        target = home / digest
        if not target.exists():
            kept = home / f".kept-{digest[:12]}-{folder.name}"
            shutil.copytree(folder, kept)
            try:
                kept.rename(target)
            except OSError:  # the same archive came twice at once
                shutil.rmtree(kept, ignore_errors=True)
        target.touch()  # used now
        _make_room(home, target, site.limits.kept_bytes)
    said = tuple({"name": each.name, "ok": each.ok, "detail": each.detail, "hint": each.hint} for each in checks)
    return Uploaded(agent=f"{UPLOAD}{digest}/{name}", name=agent.name, digest=agent.digest, checks=said)


def _make_room(home: Path, newest: Path, most: int) -> None:
    """Delete a user's uploads that were unused for longest, until all together are within ``most`` bytes."""
    uploads = [folder for folder in home.iterdir() if not folder.name.startswith(".") and folder != newest]
    room = most - folder_bytes(newest)
    for folder in sorted(uploads, key=_used, reverse=True):
        room -= folder_bytes(folder)
        if room < 0:
            shutil.rmtree(folder, ignore_errors=True)


def _used(folder: Path) -> float:
    """Return when an upload was used last; 0 where another upload has just made room by it."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _unpack(archive: IO[bytes], target: Path) -> str:
    """Write plain files below ``target``; return the SHA-256 over what was written, by name."""
    files = size = 0
    digest = hashlib.sha256()
    try:
        with tarfile.open(fileobj=archive, mode="r|*") as members:
            for member in members:
                path = PurePosixPath(member.name)
                _require_plain(member, path)
                files, size = files + 1, size + max(0, member.size)
                if files > MAX_FILES or size > MAX_BYTES:
                    refuse(Stranger(Path(member.name), agent_files.TOO_MUCH, agent_files.LESS))
                if member.isdir() or not all(is_part(part) for part in path.parts):
                    continue
                source, place = members.extractfile(member), target.joinpath(*path.parts)
                assert source is not None
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("xb") as out:
                    digest.update(f"{path}\0{member.size}\0".encode())
                    while piece := source.read(_PIECE):
                        digest.update(piece)
                        out.write(piece)
                place.chmod(0o755 if member.mode & 0o100 else 0o644)
    except (tarfile.TarError, EOFError, OSError, ValueError, MemoryError) as exc:
        raise SpecError(f"the archive cannot be read: {type(exc).__name__}", hint="send a tar, plain or gzip") from exc
    return digest.hexdigest()


def _require_plain(member: tarfile.TarInfo, path: PurePosixPath) -> None:
    shown = Path(member.name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        refuse(Stranger(shown, "leads out of the agent's folder", "name files from the folder"))
    if not member.name.isprintable():
        refuse(Stranger(shown, agent_files.ODD_NAME, agent_files.PLAIN_NAME))
    if len(path.parts) > MAX_DEPTH:
        refuse(
            Stranger(
                shown,
                f"is a folder more than {MAX_DEPTH} folders deep, and an agent is copied whole into its run",
                agent_files.REPLACE,
            )
        )
    if not member.isfile() and not member.isdir():
        kind = "a link" if member.issym() or member.islnk() else "a pipe" if member.isfifo() else "a device"
        refuse(Stranger(shown, f"is {kind}, and an agent is copied whole into its run", agent_files.REPLACE))
