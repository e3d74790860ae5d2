"""Promises about tar streams."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile

from harness.sandbox.base import Sandbox, User
from harness.sandbox.contract.promise import Stage, expect, expect_error, promise, sh, text
from harness.sandbox.execd.tarballs import LEFT_OUT, Room
from harness.spec.errors import SandboxError


def _members(sandbox: Sandbox, path: str, room: Room | None = None) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """Return everything of an archive by name."""
    with tarfile.open(fileobj=io.BytesIO(b"".join(sandbox.archive(path, room=room)))) as tar:
        return {m.name: (m, (file.read() if (file := tar.extractfile(m)) else b"") if m.isreg() else b"") for m in tar}


def _tar(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    buffer.seek(0)
    return buffer


@promise("archives")
def an_archive_holds_files_with_relative_names(stage: Stage) -> None:
    """Folders, modes, binary content, empty files, unusual names."""
    sh(stage.sandbox, "mkdir -p tree/sub 'tree/a b'; printf 'x\\000y' > tree/sub/bin; : > tree/empty; chmod 751 tree/sub/bin")
    found = _members(stage.sandbox, "/workspace/tree")
    expect(set(found) == {"sub", "sub/bin", "a b", "empty"}, set(found))
    expect(found["sub/bin"][1] == b"x\0y" and found["sub/bin"][0].mode == 0o751 and found["sub"][0].isdir(), found["sub/bin"])


@promise("archives")
def an_archive_of_nothing_is_empty(stage: Stage) -> None:
    """But a valid one."""
    sh(stage.sandbox, "mkdir -p nothing")
    expect(_members(stage.sandbox, "/workspace/nothing") == {}, "members")


@promise("archives")
def links_go_out_as_links(stage: Stage) -> None:
    """Neither to files nor to folders are they followed; names of one file are told."""
    sh(
        stage.sandbox,
        "mkdir -p links; cd links; echo x > real; ln -s /etc/passwd file; ln -s / root; ln -s nowhere gone; ln real second",
    )
    found = _members(stage.sandbox, "/workspace/links")
    expect(set(found) == {"real", "file", "root", "gone", "second"}, set(found))
    expect(all(found[name][0].issym() for name in ("file", "root", "gone")), "symbolic links")
    expect(sum(found[name][0].islnk() for name in ("real", "second")) == 1, "hard links")


@promise("archives")
def special_files_go_out_by_type(stage: Stage) -> None:
    """A pipe neither hangs nor hides."""
    sh(stage.sandbox, "mkdir -p special; mkfifo special/pipe; echo x > special/file")
    found = _members(stage.sandbox, "/workspace/special")
    expect(found["pipe"][0].isfifo() and found["file"][1] == b"x\n", set(found))


@promise("archives")
def a_large_file_streams(stage: Stage) -> None:
    """Forty megabytes in pieces, unharmed."""
    data = os.urandom(1 << 20)
    stage.sandbox.write_file("large/piece", data)
    sh(stage.sandbox, "cd large; for i in 1 2 3 4 5 6 7 8; do cat piece piece piece piece piece; done > whole; rm piece")
    pieces = list(stage.sandbox.archive("/workspace/large"))
    expect(max(len(p) for p in pieces) < 8 << 20 and len(pieces) > 5, len(pieces))
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        whole = tar.extractfile("whole")
        expect(whole is not None and hashlib.sha256(whole.read()).digest() == hashlib.sha256(data * 40).digest(), "changed")
    sh(stage.sandbox, "rm -r large")


@promise("archives")
def what_there_is_no_room_for_comes_by_name_alone(stage: Stage) -> None:
    """Files that are too long, beyond the sum, mostly holes or not wanted, and folders not wanted; the rest comes whole."""
    script = (
        "mkdir -p room; cd room; head -c 300000 /dev/zero > a; head -c 3000000 /dev/zero > b-long; truncate -s 1700000 c-holes; "
        "head -c 1700000 /dev/zero > d; head -c 100000 /dev/zero > e-beyond; sync"
    )
    expect(sh(stage.sandbox, script).ok, "the files")
    found = _members(stage.sandbox, "/workspace/room", Room(2_000_000, 2_050_000))
    said = {name: member.pax_headers.get(LEFT_OUT) for name, (member, _) in found.items()}
    missing = {"b-long": "too_large 3000000", "c-holes": "sparse 1700000", "e-beyond": "too_large 100000"}
    expect(said == {"a": None, "d": None, **missing}, said)
    sizes = {name: len(data) for name, (_, data) in found.items()}
    expect(sizes == {"a": 300_000, "d": 1_700_000, "b-long": 0, "c-holes": 0, "e-beyond": 0}, sizes)
    expect(
        sh(stage.sandbox, "mkdir -p room/folder/below; echo x > room/folder/below/file; echo x > room/folder/a").ok, "the folder"
    )
    wanted = _members(stage.sandbox, "/workspace/room", Room(4_000_000, 8_000_000, ("?-*", "a", "*/")))
    came = {name.rstrip("/"): member.pax_headers.get(LEFT_OUT, "")[:8] for name, (member, _) in wanted.items()}
    alone = dict.fromkeys(("a", "b-long", "c-holes", "e-beyond"), "unwanted")
    expect(came == {"d": "", "folder": "", **alone}, came)
    expect(sh(stage.sandbox, "rm -r room/folder").ok, "the folder")
    whole = _members(stage.sandbox, "/workspace/room")
    expect([len(data) for _, data in whole.values()] == [300_000, 3_000_000, 1_700_000, 1_700_000, 100_000], "without it")


@promise("archives")
def what_is_no_folder_cannot_be_archived(stage: Stage) -> None:
    """A missing one, and a file."""
    stage.sandbox.write_file("just-a-file", b"x")
    with expect_error(FileNotFoundError):
        list(stage.sandbox.archive("/workspace/not-a-folder"))
    with expect_error(NotADirectoryError):
        list(stage.sandbox.archive("/workspace/just-a-file"))


@promise("archives")
def unreadable_things_are_an_error(stage: Stage) -> None:
    """Rather than left out in silence."""
    sh(stage.sandbox, "mkdir -p partly; echo x > partly/locked; chmod 000 partly/locked")
    with expect_error(PermissionError):
        list(stage.sandbox.archive("/workspace/partly"))
    sh(stage.sandbox, "chmod 600 partly/locked")


@promise("archives")
def absurd_depth_is_refused(stage: Stage) -> None:
    """Within moments."""
    sh(stage.sandbox, "rm -rf deep; mkdir deep; cd deep; i=0; while [ $i -lt 400 ]; do mkdir d; cd d; i=$((i+1)); done")
    with expect_error(SandboxError, "too_deep"):
        list(stage.sandbox.archive("/workspace/deep"))


@promise("archives")
def what_cannot_be_read_hides_nothing_else_where_that_is_asked_for(stage: Stage) -> None:
    """Closed files and folders, and depth without end."""
    sh(
        stage.sandbox,
        "rm -rf some; mkdir -p some/closed some/deep; cd some; for f in closed/file locked zzz; do echo x > $f; done; "
        "chmod 000 closed locked; "
        "cd deep; i=0; while [ $i -lt 400 ]; do mkdir d; cd d; i=$((i+1)); done",
    )
    closed = {"locked", "closed/file"} if getattr(stage.backend, "isolates", True) else set()
    users: tuple[tuple[User, set[str]], ...] = (("agent", set()), ("root", closed))
    for user, more in users:
        with tarfile.open(fileobj=io.BytesIO(b"".join(stage.sandbox.archive("/workspace/some", user=user, whole=False)))) as tar:
            found = {member.name for member in tar if member.isreg()}
        expect(found >= {"zzz", *more}, f"{user} saw {found}")
    sh(stage.sandbox, "chmod 700 some/closed")


@promise("archives")
def an_abandoned_archive_does_no_harm(stage: Stage) -> None:
    """The reader may stop at any piece."""
    sh(stage.sandbox, "mkdir -p big; head -c 20000000 /dev/zero > big/file")
    stream = stage.sandbox.archive("/workspace/big")
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    expect(text(stage.sandbox, "rm -r big; echo on") == "on", "the call after it")


@promise("archives")
def what_is_extracted_is_there(stage: Stage) -> None:
    """Content, modes, folders; the agent owns it."""
    folder, script, file = tarfile.TarInfo("in"), tarfile.TarInfo("in/run.sh"), tarfile.TarInfo("top")
    folder.type, folder.mode, script.mode = tarfile.DIRTYPE, 0o755, 0o755
    stage.sandbox.extract("/workspace/unpacked", _tar((folder, b""), (script, b"#!/bin/sh\necho ran\n"), (file, b"t" * 300_000)))
    expect(
        text(stage.sandbox, "unpacked/in/run.sh; echo x >> unpacked/in/run.sh; wc -c < unpacked/top") == "ran\n300000", "content"
    )


@promise("archives")
def an_archive_comes_back_as_it_was(stage: Stage) -> None:
    """Out of one place and into another."""
    sh(stage.sandbox, "mkdir -p from/x/y; echo 1 > from/x/y/one; head -c 700000 /dev/urandom > from/two")
    stage.sandbox.extract("/workspace/to", io.BytesIO(b"".join(stage.sandbox.archive("/workspace/from"))))
    expect(text(stage.sandbox, "diff -r from to && echo same") == "same", "differ")


@promise("archives")
def unsafe_members_are_refused(stage: Stage) -> None:
    """Names that lead out, links, devices; nothing lands outside."""
    out, link, device = tarfile.TarInfo("../escaped"), tarfile.TarInfo("link"), tarfile.TarInfo("device")
    link.type, link.linkname, device.type = tarfile.SYMTYPE, "/etc", tarfile.CHRTYPE
    for info, data in ((out, b"x"), (tarfile.TarInfo("/absolute"), b"x"), (link, b""), (device, b"")):
        with expect_error(SandboxError, "unsafe_member"):
            stage.sandbox.extract("/workspace/safe", _tar((info, data)))
    expect(text(stage.sandbox, "ls escaped /absolute 2>/dev/null; echo none") == "none", "it landed")
