"""Promises about making, finding and destroying sandboxes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.sandbox.base import Mount
from harness.sandbox.contract.promise import PATIENCE_S, Stage, expect, expect_error, promise, python, sh, text, wait_until
from harness.sandbox.runtime import runtime_root
from harness.spec.errors import DojoError, SandboxUnavailable

_BURN = "import time\nwhile time.process_time() < 0.5: pass\n"
# each starts a process that works and ends, and ends itself only afterwards
_WAYS = {
    "a command": _BURN,
    "its child": f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {_BURN!r}])\n",
    "an orphan of its child": f"""
import os
reading, writing = os.pipe()
if os.fork():
    os.close(writing)
    os.wait()
    os.read(reading, 1)
elif not os.fork():
    {_BURN.replace(chr(10), chr(10) + "    ")}
""",
}


@promise("lifecycle")
def the_list_shows_what_exists(stage: Stage) -> None:
    """And no longer what was closed."""
    with stage.new() as sandbox:
        expect(sandbox.spec.id in stage.backend.list(), stage.backend.list())
    expect(sandbox.spec.id not in stage.backend.list(), stage.backend.list())


@promise("lifecycle")
def attach_gives_the_same_place(stage: Stage) -> None:
    """With the same files and the same specification."""
    with stage.new() as sandbox:
        sandbox.write_file("mark", b"same place")
        other = stage.backend.attach(sandbox.spec.id)
        expect(other.read_file("mark") == b"same place", "files")
        expect(other.spec == sandbox.spec, (other.spec, sandbox.spec))


@promise("lifecycle")
def nobody_can_be_attached_to(stage: Stage) -> None:
    """An unknown id, and one that was closed."""
    with stage.new() as sandbox:
        pass
    for id in (sandbox.spec.id, "never-existed"):
        with expect_error(SandboxUnavailable):
            stage.backend.attach(id)


@promise("lifecycle")
def closing_twice_is_fine(stage: Stage) -> None:
    """So is destroying what is not there."""
    with stage.new() as sandbox:
        sandbox.close()
        sandbox.close()
    stage.backend.destroy(sandbox.spec.id)
    stage.backend.destroy("never-existed")


@promise("lifecycle")
def after_closing_every_call_says_that_it_is_gone(stage: Stage) -> None:
    """With the type that means: try the run again."""
    with stage.new() as sandbox:
        expect(sandbox.alive(), "not alive")
    expect(not sandbox.alive(), "alive")
    for call in (lambda: sandbox.exec(["true"]), lambda: sandbox.read_file("x"), sandbox.usage, sandbox.kill_all):
        with expect_error(SandboxUnavailable):
            call()


@promise("lifecycle")
def destroy_ends_it_for_every_client(stage: Stage) -> None:
    """By id alone, with commands running in it."""
    sandbox = stage.backend.create(stage.spec())
    sandbox.start(["sleep", "600"])
    stage.backend.destroy(sandbox.spec.id)
    expect(not sandbox.alive() and sandbox.spec.id not in stage.backend.list(), stage.backend.list())


@promise("lifecycle")
def a_sandbox_that_dies_under_a_call_is_unavailable_with_a_cause(stage: Stage) -> None:
    """The error says something about why, and that is not the command's doing."""
    sandbox = stage.backend.create(stage.spec())
    try:
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(sandbox.exec, ["sh", "-c", "touch begun; sleep 600"])
            wait_until(lambda: sandbox.exec(["ls", "begun"]).ok, "the command")
            stage.backend.destroy(sandbox.spec.id)
            with expect_error(SandboxUnavailable):
                call.result(timeout=PATIENCE_S)
            expect(len(str(call.exception())) > 20, call.exception())
    finally:
        sandbox.close()


@promise("lifecycle")
def nothing_of_a_closed_sandbox_is_on_the_host(stage: Stage) -> None:
    """No mount, no control group, no file, no process that has its id in the name."""
    sandbox = stage.backend.create(stage.spec())
    sandbox.start(["sh", "-c", "trap '' TERM; sleep 600"])
    sandbox.write_file("large", bytes(1_000_000))
    id = sandbox.spec.id
    sandbox.close()
    expect(id not in Path("/proc/self/mounts").read_text(), "a mount")
    for place in (Path("/sys/fs/cgroup"), runtime_root(), Path("/var/tmp"), Path("/tmp"), Path("/dev/shm")):
        left = [str(path) for pattern in (f"*{id}*", f"*/*{id}*", f"*/*/*{id}*") for path in place.glob(pattern)]
        expect(not [path for path in left if str(stage.folder) not in path], left)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            expect(process.name == str(os.getpid()) or id.encode() not in (process / "cmdline").read_bytes(), process)


@promise("lifecycle")
def an_id_is_given_once(stage: Stage) -> None:
    """The second is refused and the first goes on."""
    with stage.new() as sandbox:
        with expect_error(DojoError):
            stage.backend.create(sandbox.spec)
        expect(text(sandbox, "echo alive") == "alive", "the first one")


@promise("lifecycle")
def an_id_can_be_used_again_after_closing(stage: Stage) -> None:
    """And nothing of the first is in the second."""
    with stage.new() as sandbox:
        sandbox.write_file("old", b"x")
    again = stage.backend.create(sandbox.spec)
    try:
        expect(text(again, "ls") == "", "old files")
    finally:
        again.close()


@promise("lifecycle")
def a_sandbox_that_cannot_be_made_leaves_nothing(stage: Stage) -> None:
    """A mount of something that is not there is a clear error."""
    spec = stage.spec(mounts=[Mount(Path("/no/such/folder"), "/data")])
    with expect_error(DojoError):
        stage.backend.create(spec)
    expect(spec.id not in stage.backend.list(), stage.backend.list())


@promise("lifecycle")
def what_the_harness_was_born_with_stays_outside(stage: Stage) -> None:
    """A strict umask and ignored signals of whoever makes a sandbox neither lock the agent out nor reach its commands."""
    shown = stage.host_folder()
    (shown / "file").write_text("shown")
    (shown / "file").chmod(0o644)
    umask, hangup = os.umask(0o077), None
    if threading.current_thread() is threading.main_thread():  # elsewhere signals cannot be set
        hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        sandbox = stage.backend.create(stage.spec(mounts=[Mount(shown, "/data/deep/folder")]))
    finally:
        os.umask(umask)
        if hangup is not None:
            signal.signal(signal.SIGHUP, hangup)
    try:
        look = sandbox.exec(["cat", "/data/deep/folder/file"], timeout_s=PATIENCE_S)
        expect(look.stdout == b"shown", look)
        expect(text(sandbox, 'umask; echo x > "$TMPDIR/x"; echo x > x; stat -c %a x') == "0022\n644", "modes")
        expect(sh(sandbox, "kill -HUP $$; echo ignored").exit_code == 128 + signal.SIGHUP, "an ignored signal")
    finally:
        sandbox.close()


@promise("lifecycle")
def sandboxes_share_no_files(stage: Stage) -> None:
    """Each has its own workspace and its own temporary folder."""
    with stage.new() as one, stage.new() as two:
        text(one, 'echo x > private; echo x > "$TMPDIR/private"')
        seen = text(two, 'ls; ls "$TMPDIR"').split()  # a venv below /tmp is shown there, at its own path
        expect("private" not in seen, seen)


@promise("lifecycle")
def usage_grows_with_use(stage: Stage) -> None:
    """CPU seconds, disk, running processes."""
    with stage.new() as sandbox:
        before = sandbox.usage()
        sh(sandbox, "head -c 20000000 /dev/zero > used; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")
        process = sandbox.start(["sleep", "600"])
        wait_until(lambda: sandbox.usage().processes == 1, "one process")
        after = sandbox.usage()
        expect(after.cpu_s > before.cpu_s + 0.05, (before, after))
        expect(15 < after.disk_mb - before.disk_mb < 30, (before, after))
        expect(after.memory_peak_mb > 0 and after.oom_kills == 0, after)
        sandbox.kill(process)


@promise("lifecycle")
def the_cpu_seconds_of_processes_that_have_ended_count(stage: Stage) -> None:
    """However they came to their end: waited for by the command, by the command's parent, or by nobody of the agent's."""
    for way, program in _WAYS.items():
        with stage.new() as sandbox:
            python(sandbox, "pass")
            before = sandbox.usage().cpu_s
            result = python(sandbox, program)
            wait_until(lambda sandbox=sandbox: sandbox.usage().processes == 0, "its end")  # type: ignore[misc]
            expect(result.ok and sandbox.usage().cpu_s - before >= 0.45, (way, before, sandbox.usage(), result))


@promise("lifecycle")
def ten_sandboxes_live_side_by_side(stage: Stage) -> None:
    """Made one after the other, each answers for itself."""
    made = [stage.backend.create(stage.spec()) for _ in range(10)]
    try:
        for number, sandbox in enumerate(made):
            sandbox.write_file("me", str(number).encode())
        expect([s.read_file("me") for s in made] == [b"%d" % n for n in range(10)], "mixed up")
    finally:
        for sandbox in made:
            sandbox.close()
