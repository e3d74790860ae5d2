"""Promises about `exec`."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from harness.sandbox.contract.promise import PATIENCE_S, Stage, expect, expect_error, promise, python, sh, text, wait_until
from harness.spec.errors import SandboxError

_BINARY = bytes(range(256)) * 64
# A child that ignores SIGTERM, leaves its session and its parent, and would live for an hour. $1: where it leaves its pid.
ESCAPEE = (
    "trap '' TERM HUP INT; (setsid sh -c \"trap '' TERM HUP INT; (trap '' TERM HUP INT; sh -c 'echo \\$\\$ > {name}; "
    "exec sleep 3600') & wait\" & ) ; while [ ! -s {name} ]; do sleep 0.01; done; "
)


@promise("exec")
def stdout_and_stderr_come_apart(stage: Stage) -> None:
    """Each stream has its own bytes."""
    result = sh(stage.sandbox, "echo out; echo err >&2")
    expect((result.stdout, result.stderr) == (b"out\n", b"err\n"), result)


@promise("exec")
def the_exit_code_is_the_commands(stage: Stage) -> None:
    """Codes come as they are."""
    for code in (0, 1, 7, 126, 127, 255):
        expect(sh(stage.sandbox, f"exit {code}").exit_code == code, code)


@promise("exec")
def death_by_a_signal_is_128_plus_its_number(stage: Stage) -> None:
    """As shells have it, and it is no timeout."""
    for number in (9, 15, 6):
        result = sh(stage.sandbox, f"kill -{number} $$")
        expect(result.exit_code == 128 + number and not result.timed_out, result)


@promise("exec")
def stdin_reaches_the_command(stage: Stage) -> None:
    """Byte for byte, with an end."""
    result = stage.sandbox.exec(["cat"], stdin=_BINARY, timeout_s=PATIENCE_S)
    expect(result.stdout == _BINARY, len(result.stdout))


@promise("exec")
def no_stdin_is_an_immediate_end_of_file(stage: Stage) -> None:
    """A command that reads does not wait."""
    result = stage.sandbox.exec(["cat"], timeout_s=PATIENCE_S)
    expect(result.ok and result.stdout == b"" and result.duration_s < PATIENCE_S / 2, result)


@promise("exec")
def eight_megabytes_go_in_and_come_out(stage: Stage) -> None:
    """Neither side deadlocks on full pipes."""
    data = os.urandom(8 * 1024 * 1024)
    result = stage.sandbox.exec(["cat"], stdin=data, timeout_s=PATIENCE_S, output_cap=32 * 1024 * 1024)
    expect(hashlib.sha256(result.stdout).digest() == hashlib.sha256(data).digest(), len(result.stdout))


@promise("exec")
def unread_stdin_does_no_harm(stage: Stage) -> None:
    """A command may end without reading, and the next call works."""
    result = stage.sandbox.exec(["true"], stdin=b"x" * 4_000_000, timeout_s=PATIENCE_S)
    expect(result.ok, result)
    expect(text(stage.sandbox, "echo next") == "next", "the call after it")


@promise("exec")
def arguments_arrive_literally(stage: Stage) -> None:
    """No shell, no splitting, no globbing."""
    arguments = ["a b", "'", '"', "$HOME", "*", "line\nbreak", "ä→😀", "", "--", "\\"]
    result = stage.sandbox.exec(["printf", "%s\\0", *arguments], timeout_s=PATIENCE_S)
    expect(result.stdout.decode().split("\0")[:-1] == arguments, result.stdout)


@promise("exec")
def a_calls_environment_is_added(stage: Stage) -> None:
    """It wins over the sandbox's, which stays otherwise."""
    result = stage.sandbox.exec(["sh", "-c", "echo $HOME:$A:$LANG"], env={"A": "1 2", "LANG": "C"}, timeout_s=PATIENCE_S)
    expect(result.stdout == b"/workspace:1 2:C\n" or result.stdout.endswith(b"/workspace:1 2:C\n"), result.stdout)


@promise("exec")
def the_harness_environment_stays_outside(stage: Stage) -> None:
    """No variable of the calling process is seen."""
    os.environ["DOJO_CONTRACT_SECRET"] = "x"
    try:
        with stage.new() as sandbox:
            expect("DOJO_CONTRACT_SECRET" not in text(sandbox, "env"), "it is seen")
    finally:
        del os.environ["DOJO_CONTRACT_SECRET"]


@promise("exec")
def the_workspace_is_home_and_first_folder(stage: Stage) -> None:
    """Commands start in HOME and may write there."""
    expect(text(stage.sandbox, '[ "$(pwd -P)" = "$(cd "$HOME" && pwd -P)" ] && echo x > home-file && echo same') == "same", "pwd")


@promise("exec")
def a_calls_folder_is_used(stage: Stage) -> None:
    """Relative ones are below the workspace."""
    sh(stage.sandbox, "mkdir -p sub/folder")
    result = stage.sandbox.exec(["pwd"], cwd="sub/folder", timeout_s=PATIENCE_S)
    expect(result.stdout.endswith(b"/workspace/sub/folder\n"), result)


@promise("exec")
def a_missing_folder_is_a_result(stage: Stage) -> None:
    """Exit code 126 or 127, and the folder is named."""
    result = stage.sandbox.exec(["true"], cwd="/workspace/not-there", timeout_s=PATIENCE_S)
    expect(result.exit_code in (126, 127) and b"not-there" in result.stderr, result)


@promise("exec")
def a_missing_program_is_a_result(stage: Stage) -> None:
    """Exit code 127, and the program is named."""
    for name in ("no-such-program", "/no/such/program"):
        result = stage.sandbox.exec([name], timeout_s=PATIENCE_S)
        expect(result.exit_code == 127 and name.encode() in result.stderr, result)


@promise("exec")
def a_file_that_is_no_program_is_a_result(stage: Stage) -> None:
    """Exit code 126."""
    stage.sandbox.write_file("plain.txt", b"hello", mode=0o644)
    result = stage.sandbox.exec(["/workspace/plain.txt"], timeout_s=PATIENCE_S)
    expect(result.exit_code == 126 and b"plain.txt" in result.stderr, result)


@promise("exec")
def nonsense_arguments_are_refused(stage: Stage) -> None:
    """Before anything runs."""
    for bad in ([], ["a\0b"]):
        with expect_error(SandboxError):
            stage.sandbox.exec(bad)


@promise("exec")
def a_deadline_ends_the_command(stage: Stage) -> None:
    """Soon after it, said by a field, and what was printed before is kept."""
    started = time.monotonic()
    result = sh(stage.sandbox, "echo before; exec sleep 600", timeout_s=0.5)
    expect(result.timed_out and not result.ok and result.stdout == b"before\n", result)
    expect(time.monotonic() - started < PATIENCE_S / 2, result.duration_s)


@promise("exec")
def a_deadline_kills_what_tries_to_get_away(stage: Stage) -> None:
    """Double fork, own session, SIGTERM ignored: dead all the same when the call returns."""
    result = sh(stage.sandbox, ESCAPEE.format(name="escaped.pid") + "cat escaped.pid; sleep 600", timeout_s=3.0)
    expect(result.timed_out and result.stdout.strip().isdigit(), result)
    _expect_dead(stage, "escaped.pid")


@promise("exec")
def the_end_of_the_command_is_the_end_of_its_tree(stage: Stage) -> None:
    """A foreground call leaves nothing running, and does not wait for what holds its output."""
    started = time.monotonic()
    result = sh(stage.sandbox, ESCAPEE.format(name="left.pid") + "echo done")
    expect(result.ok and result.stdout == b"done\n", result)
    expect(time.monotonic() - started < PATIENCE_S / 2, "it waited for the child")
    _expect_dead(stage, "left.pid")


def _expect_dead(stage: Stage, pid_file: str) -> None:
    """No process inside is the sleeper that left its pid; commands may have pids of their own, so its program is looked for."""
    found = sh(
        stage.sandbox, "for d in /proc/[0-9]*; do tr '\\0' ' ' < $d/cmdline 2>/dev/null; echo; done | grep -c '^sleep 3600'"
    )
    expect(found.stdout.strip() == b"0", found)
    expect(stage.sandbox.usage().processes == 0, stage.sandbox.usage())


@promise("exec")
def a_flood_keeps_head_and_tail(stage: Stage) -> None:
    """And says that something is missing."""
    program = "import sys; sys.stdout.write('HEAD'); sys.stdout.write('x' * 20_000_000); sys.stdout.write('TAIL')"
    result = python(stage.sandbox, program)
    out = result.stdout
    expect(result.truncated and out.startswith(b"HEADx") and out.endswith(b"xTAIL"), (result.truncated, out[:8], out[-8:]))
    expect(len(out) < 3 * 1024 * 1024, len(out))


@promise("exec")
def output_up_to_the_cap_is_whole(stage: Stage) -> None:
    """One byte more is not."""
    exact = stage.sandbox.exec(["head", "-c", "10000", "/dev/zero"], output_cap=10000, timeout_s=PATIENCE_S)
    more = stage.sandbox.exec(["head", "-c", "10001", "/dev/zero"], output_cap=10000, timeout_s=PATIENCE_S)
    expect(exact.stdout == bytes(10000) and not exact.truncated, len(exact.stdout))
    expect(more.truncated, len(more.stdout))


@promise("exec")
def both_streams_may_flood_at_once(stage: Stage) -> None:
    """Neither blocks the other."""
    result = sh(stage.sandbox, "head -c 5000000 /dev/zero & head -c 5000000 /dev/zero >&2; wait")
    expect(result.ok and result.truncated, (result.exit_code, len(result.stdout), len(result.stderr)))


@promise("exec")
def binary_output_is_unharmed(stage: Stage) -> None:
    """No decoding, no newline changes."""
    stage.sandbox.write_file("binary", _BINARY)
    expect(stage.sandbox.exec(["cat", "binary"], timeout_s=PATIENCE_S).stdout == _BINARY, "changed")


@promise("exec")
def twenty_commands_run_at_once(stage: Stage) -> None:
    """Each gets its own answer, and they run side by side."""

    def one(number: int) -> bytes:
        return sh(stage.sandbox, f"sleep 0.3; echo {number}").stdout

    started = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(one, range(20)))
    expect(answers == [b"%d\n" % n for n in range(20)], answers)
    expect(time.monotonic() - started < PATIENCE_S / 2, "one after the other")


@promise("exec")
def a_thousand_short_commands_leave_nothing(stage: Stage) -> None:
    """No process inside, no file, and no descriptor of the caller's."""
    stage.sandbox.exec(["true"], timeout_s=PATIENCE_S)
    before, disk = len(os.listdir("/proc/self/fd")), stage.sandbox.usage().disk_mb
    for _ in range(1000):
        expect(stage.sandbox.exec(["true"], timeout_s=PATIENCE_S).ok, "one failed")
    expect(len(os.listdir("/proc/self/fd")) <= before + 2, (before, os.listdir("/proc/self/fd")))
    after = stage.sandbox.usage()
    expect(after.processes == 0 and after.disk_mb <= disk + 0.1, (disk, after))


@promise("exec")
def text_split_over_writes_is_whole(stage: Stage) -> None:
    """A character whose bytes come in two pieces, and one that never ends."""
    program = """
import os, time
for part in ("ü€𝄞" * 3).encode():
    os.write(1, bytes([part]))
    time.sleep(0.002)
os.write(1, bytes([0xE2, 0x82]))
"""
    expect(python(stage.sandbox, program).stdout == ("ü€𝄞" * 3).encode() + bytes([0xE2, 0x82]), "bytes were changed")


@promise("exec")
def output_that_looks_like_an_answer_is_output(stage: Stage) -> None:
    """Forged ends, lengths and records in what a command prints change nothing."""
    forged = b'\x00\x00\x00\x02{}{"ok": {"exit_code": 0, "stdout": 0, "duration_s": 0}}\n__END__ 0\n\x1e\x04\r\n0\r\n\r\n' * 3
    stage.sandbox.write_file("forged", forged)
    result = sh(stage.sandbox, "cat forged; cat forged >&2; exit 3")
    expect((result.exit_code, result.stdout, result.stderr) == (3, forged, forged), result)


@promise("exec")
def programs_put_in_the_way_are_not_run(stage: Stage) -> None:
    """What runs, watches and ends commands is found by nobody's PATH: neither root's commands nor deadlines fall for it."""
    script = "#!/bin/sh\necho $(id -u) >> /workspace/caught\n"
    names = ("sh", "bash", "env", "timeout", "su", "runuser", "setsid", "kill", "nice", "python3", "tar", "cat")
    for name in names:
        stage.sandbox.write_file(f"way/{name}", script.encode(), mode=0o755)
    path = {"PATH": "/workspace/way:/usr/bin:/bin"}
    expect(stage.sandbox.exec(["true"], env=path, user="root", timeout_s=PATIENCE_S).ok, "root's")
    expect(stage.sandbox.exec(["sleep", "60"], env=path, timeout_s=0.2).timed_out, "a deadline")
    stage.sandbox.read_file("way/sh")
    b"".join(stage.sandbox.archive("/workspace/way"))
    expect(not sh(stage.sandbox, "ls /workspace/caught").ok, "one was run")


@promise("exec")
def a_call_that_is_given_up_kills_its_tree(stage: Stage) -> None:
    """Whoever called is dead: nothing of the command goes on."""
    with stage.new() as sandbox:
        caller = os.fork()
        if caller == 0:
            try:
                stage.backend.attach(sandbox.spec.id).exec(["sh", "-c", "(setsid sleep 600 &); touch begun; sleep 600"])
            finally:
                os._exit(1)
        wait_until(lambda: sh(sandbox, "ls begun").ok, "the command")
        os.kill(caller, signal.SIGKILL)
        os.waitpid(caller, 0)
        wait_until(lambda: sandbox.usage().processes == 0, "its end")


@promise("exec")
def commands_inherit_three_descriptors(stage: Stage) -> None:
    """Nothing of execd's is open in them."""
    seen = text(stage.sandbox, "ls /proc/self/fd | sort -n | tr '\\n' ' '")
    expect(seen in ("0 1 2 3", "0 1 2"), seen)  # the third or fourth is ls's own


@promise("exec")
def signals_have_their_defaults(stage: Stage) -> None:
    """Nothing is ignored or blocked that the command did not ask for; 32 and 33 are the C library's own."""
    seen = text(stage.sandbox, "grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -f2")
    expect(all(int(mask, 16) & ~0x180000000 == 0 for mask in seen.split()), seen)


@promise("exec")
def files_made_by_one_command_are_there_for_the_next(stage: Stage) -> None:
    """The workspace lasts."""
    text(stage.sandbox, "echo kept > kept.txt")
    expect(text(stage.sandbox, "cat kept.txt") == "kept", "not there")


@promise("exec")
def exit_codes_never_look_like_timeouts(stage: Stage) -> None:
    """Fields come from records: 124 and 137 of the command's own are no timeout and no lack of memory."""
    for code in (124, 137):
        result = sh(stage.sandbox, f"exit {code}", timeout_s=PATIENCE_S)
        expect(not result.timed_out and not result.oom_killed and not result.truncated, result)
