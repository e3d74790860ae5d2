"""Promises about single files and mounts."""

from __future__ import annotations

import io
import os

from harness.sandbox.base import Mount
from harness.sandbox.contract.promise import Stage, expect, expect_error, promise, sh, text
from harness.spec.errors import SandboxError


@promise("files")
def what_is_written_is_read(stage: Stage) -> None:
    """Empty, small, binary, and ten megabytes; whole or piece by piece."""
    for number, data in enumerate((b"", b"text\n", bytes(range(256)), os.urandom(10_000_000))):
        stage.sandbox.write_file(f"/workspace/round-{number}", data)
        expect(stage.sandbox.read_file(f"/workspace/round-{number}") == data, (number, len(data)))
        stage.sandbox.write_from(f"/workspace/round-{number}", io.BytesIO(data[::-1] + b"more"), len(data))
        target = io.BytesIO()
        size = stage.sandbox.read_into(f"/workspace/round-{number}", target, max_bytes=len(data))
        expect(size == len(data) and target.getvalue() == data[::-1], ("piece by piece", number, size))


@promise("files")
def writing_makes_parents(stage: Stage) -> None:
    """Which the agent may use then."""
    stage.sandbox.write_file("/workspace/new/deep/file", b"x")
    expect(text(stage.sandbox, "touch new/deep/other && ls new/deep | tr '\\n' ' '") == "file other", "parents")


@promise("files")
def writing_replaces(stage: Stage) -> None:
    """A shorter file has no old end."""
    stage.sandbox.write_file("replaced", b"long long ago")
    stage.sandbox.write_file("replaced", b"new")
    expect(stage.sandbox.read_file("replaced") == b"new", stage.sandbox.read_file("replaced"))


@promise("files")
def mode_and_owner_are_the_agents(stage: Stage) -> None:
    """So a written script runs and a written file can be changed."""
    stage.sandbox.write_file("script.sh", b"#!/bin/sh\necho ran\n", mode=0o755)
    expect(text(stage.sandbox, "./script.sh; echo '# more' >> script.sh; stat -c %a script.sh") == "ran\n755", "script")


@promise("files")
def relative_paths_are_below_the_workspace(stage: Stage) -> None:
    """As for commands."""
    stage.sandbox.write_file("relative.txt", b"r")
    expect(stage.sandbox.read_file("/workspace/relative.txt") == b"r", "elsewhere")


@promise("files")
def unusual_names_work(stage: Stage) -> None:
    """Spaces, quotes, newlines, other scripts."""
    for name in ("a b", "ä→😀", "it's", "new\nline", "-dash"):
        stage.sandbox.write_file(f"/workspace/names/{name}", name.encode())
        expect(stage.sandbox.read_file(f"/workspace/names/{name}") == name.encode(), name)


@promise("files")
def a_missing_file_is_not_found(stage: Stage) -> None:
    """And the error names it."""
    try:
        stage.sandbox.read_file("/workspace/nothing-here")
    except FileNotFoundError as exc:
        expect("nothing-here" in str(exc.filename), exc.filename)
    else:
        expect(False, "no error")


@promise("files")
def a_folder_is_no_file(stage: Stage) -> None:
    """Neither for reading nor for writing."""
    sh(stage.sandbox, "mkdir -p folder")
    with expect_error(IsADirectoryError):
        stage.sandbox.read_file("folder")
    with expect_error(IsADirectoryError):
        stage.sandbox.write_file("folder", b"x")


@promise("files")
def files_are_read_with_the_agents_rights(stage: Stage) -> None:
    """What the agent's user may not read is refused."""
    sh(stage.sandbox, "echo x > locked; chmod 000 locked")
    with expect_error(PermissionError):
        stage.sandbox.read_file("locked")
    sh(stage.sandbox, "chmod 644 locked")
    expect(stage.sandbox.read_file("locked") == b"x\n", "unlocked")


@promise("files")
def a_file_above_the_cap_is_too_large(stage: Stage) -> None:
    """At the cap it is not, and the connection goes on."""
    stage.sandbox.write_file("sized", bytes(1000))
    expect(len(stage.sandbox.read_file("sized", max_bytes=1000)) == 1000, "at the cap")
    with expect_error(SandboxError, "too_large"):
        stage.sandbox.read_file("sized", max_bytes=999)
    expect(len(stage.sandbox.read_file("sized")) == 1000, "after it")


@promise("files")
def endless_and_blocking_files_are_refused(stage: Stage) -> None:
    """Reading or writing a pipe, a device or a socket neither hangs nor fills memory."""
    sh(stage.sandbox, "mkfifo pipe; ln -s /dev/zero zero; ln -s /dev/null null")
    for path in ("pipe", "zero"):
        with expect_error(SandboxError):
            stage.sandbox.read_file(path)
    with expect_error((SandboxError, OSError)):  # type: ignore[arg-type]
        stage.sandbox.write_file("pipe", b"x")


@promise("isolation")
def a_read_only_mount_shows_and_refuses(stage: Stage) -> None:
    """A folder and a file of the host, whose parents nobody else may enter."""
    private = stage.host_folder()
    shown = private / "shown"
    shown.mkdir()
    (shown / "inner.txt").write_text("inside")
    (private / "single.txt").write_text("single")
    private.chmod(0o700)
    mounts = [Mount(shown, "/data/sources"), Mount(private / "single.txt", "/data/card.md")]
    with stage.new(mounts=mounts) as sandbox:
        expect(sandbox.read_file("/data/sources/inner.txt") == b"inside", "folder")
        expect(sandbox.read_file("/data/card.md") == b"single", "file")
        for path in ("/data/sources/new", "/data/sources/inner.txt", "/data/card.md"):
            with expect_error(OSError):
                sandbox.write_file(path, b"changed")
        refused = sh(sandbox, "echo x > /data/sources/inner.txt; rm -f /data/sources/inner.txt; chmod 777 /data/sources")
        expect(not refused.ok and (shown / "inner.txt").read_text() == "inside", refused)


@promise("shared")
def a_writable_mount_reaches_the_host(stage: Stage) -> None:
    """Whatever the agent's user may write there."""
    shared = stage.host_folder()
    shared.chmod(0o777)
    with stage.new(mounts=[Mount(shared, "/shared", writable=True)]) as sandbox:
        text(sandbox, "test -d /shared || exit 0; echo from inside > /shared/file")
        sandbox.write_file("/shared/second", b"too")
    expect((shared / "second").read_bytes() == b"too", list(shared.iterdir()))


@promise("shared")
def changes_of_the_host_are_seen_in_mounts(stage: Stage) -> None:
    """A mount is the folder, not a copy of it."""
    shared = stage.host_folder()
    with stage.new(mounts=[Mount(shared, "/data/live")]) as sandbox:
        (shared / "later").write_text("later")
        expect(sandbox.read_file("/data/live/later") == b"later", "not seen")
