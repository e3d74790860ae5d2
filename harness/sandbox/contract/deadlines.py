"""Promises about the sandbox's deadline: the agent's budget holds whatever happens to the harness."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from harness.sandbox.base import Sandbox
from harness.sandbox.contract.commands import ESCAPEE
from harness.sandbox.contract.limits import BOMB, SMALL
from harness.sandbox.contract.promise import Stage, expect, expect_error, promise, python, sh, text, wait_until
from harness.spec.errors import SandboxError

# how much later than promised the agent may be seen alive, on a loaded machine
LATE_S = 2.0
_LONG_S = 600.0
# writes the sandbox's own clock again and again, so that the last number tells when it died
_BEATS = (
    "import os, time\n"
    "while True:\n"
    "    with open('beat.new', 'w') as file: file.write(repr(time.monotonic()))\n"
    "    os.rename('beat.new', 'beat')\n"
    "    time.sleep(0.02)\n"
)
_STUBBORN = ESCAPEE.format(name="escaped.pid") + "echo ready; sleep 3600"


def _clock(sandbox: Sandbox) -> float:
    """Return the time by the sandbox's own clock."""
    return float(python(sandbox, "import time; print(repr(time.monotonic()))").stdout)


def _running(sandbox: Sandbox, script: str) -> str:
    """Start a script that says ready, and wait until it does."""
    process = sandbox.start(["sh", "-c", script])
    wait_until(lambda: sandbox.poll(process).stdout == b"ready\n", "the process")
    return process


def _await_end(sandbox: Sandbox, process: str) -> float:
    """Wait until the process has ended; return how long that took."""
    started = time.monotonic()
    wait_until(lambda: not sandbox.poll(process, stdout_offset=1 << 40).running, "its end")
    return time.monotonic() - started


@promise("deadline")
def at_the_deadline_nothing_of_the_agent_is_left(stage: Stage) -> None:
    """Commands, detached processes, double forks that ignore SIGTERM: all dead in time, and `poll` says why."""
    with stage.new() as sandbox:
        process = _running(sandbox, _STUBBORN)
        sandbox.set_deadline(0.5)
        took = _await_end(sandbox, process)
        expect(took < 0.5 + LATE_S, took)
        status = sandbox.poll(process)
        expect(status.deadline and status.exit_code not in (None, 0), status)
        wait_until(lambda: sandbox.usage().processes == 0, "the death of all", LATE_S)


@promise("deadline")
def a_running_command_ends_at_the_deadline(stage: Stage) -> None:
    """However long it might have run."""
    with stage.new() as sandbox:
        sandbox.set_deadline(0.5)
        result = sandbox.exec(["sh", "-c", _STUBBORN], timeout_s=_LONG_S)
        expect(not result.ok and not result.timed_out and result.duration_s < 0.5 + LATE_S, result)
        # the command's answer may be here a moment before the last of what it started is dead
        wait_until(lambda: sandbox.usage().processes == 0, "the death of all", LATE_S)


@promise("deadline")
def the_deadline_is_kept_when_the_harness_was_killed(stage: Stage) -> None:
    """With kill -9, and nobody connects until long after: the agent's own clock tells when it ended."""
    with stage.new() as sandbox:
        told, tell = os.pipe()
        harness = os.fork()
        if not harness:
            try:
                other = stage.backend.attach(sandbox.spec.id)
                other.start(["python3", "-c", _BEATS], name="beats")
                wait_until(lambda: other.exec(["ls", "beat"]).ok, "a beat")
                before = _clock(other)
                other.set_deadline(1.0)
                os.write(tell, repr(before).encode())
                signal.pause()
            finally:
                os._exit(1)
        os.close(tell)
        set_at = os.read(told, 100)
        os.close(told)
        os.kill(harness, signal.SIGKILL)
        os.waitpid(harness, 0)
        expect(bool(set_at), "it was not set")
        time.sleep(1.0 + LATE_S + 0.5)  # nobody looks meanwhile
        lived = float(sandbox.read_file("beat")) - float(set_at)
        expect(0.5 < lived < 1.0 + LATE_S, lived)
        expect(sandbox.poll("beats").deadline and sandbox.usage().processes == 0, sandbox.poll("beats"))


@promise("deadline")
def after_the_deadline_nothing_of_the_agent_starts(stage: Stage) -> None:
    """An error says so, a known name still leads to its process, and what is there can be collected."""
    with stage.new() as sandbox:
        sandbox.write_file("work/result", b"result")
        sandbox.start(["sleep", "3600"], name="agent")
        sandbox.set_deadline(0.0)
        _await_end(sandbox, "agent")
        for call in (
            lambda: sandbox.exec(["touch", "late"], stdin=b"x" * 1000),
            lambda: sandbox.start(["touch", "late"], name="new"),
        ):
            with expect_error(SandboxError, "deadline"):
                call()
        with expect_error(SandboxError, "no_such_process"):
            sandbox.poll("new")
        expect(sandbox.start(["true"], name="agent") == "agent" and sandbox.poll("agent").deadline, "the name")
        sandbox.write_file("by-the-harness", b"x")
        expect(sandbox.read_file("work/result") == b"result" and b"result" in b"".join(sandbox.archive("work")), "files")
        expect(sandbox.alive() and sandbox.kill_all() == 0 and sandbox.usage().processes == 0, sandbox.usage())
        with expect_error(FileNotFoundError):
            sandbox.read_file("late")


@promise("deadline")
def a_deadline_can_be_moved(stage: Stage) -> None:
    """Later and earlier; what counts is the last word."""
    with stage.new() as sandbox:
        process = _running(sandbox, "echo ready; sleep 3600")
        sandbox.set_deadline(0.3)
        sandbox.set_deadline(_LONG_S)
        expect(sh(sandbox, "sleep 0.8; echo on").stdout == b"on\n" and sandbox.poll(process).running, sandbox.poll(process))
        sandbox.set_deadline(0.2)
        expect(_await_end(sandbox, process) < 0.2 + LATE_S and sandbox.poll(process).deadline, sandbox.poll(process))
        sandbox.set_deadline(_LONG_S)
        expect(text(sandbox, "echo again") == "again", "after it was moved")


@promise("deadline")
def a_deadline_can_be_taken_back(stage: Stage) -> None:
    """Before it and after it; then a new one counts again."""
    with stage.new() as sandbox:
        process = _running(sandbox, "echo ready; sleep 3600")
        sandbox.set_deadline(0.3)
        sandbox.set_deadline(None)
        expect(sh(sandbox, "sleep 0.8; echo on").stdout == b"on\n" and sandbox.poll(process).running, sandbox.poll(process))
        sandbox.set_deadline(0)
        _await_end(sandbox, process)
        sandbox.set_deadline(None)
        expect(text(sandbox, "echo again") == "again", "after it was taken back")
        again = _running(sandbox, "echo ready; sleep 3600")
        sandbox.set_deadline(0)
        expect(_await_end(sandbox, again) < LATE_S and sandbox.poll(again).deadline, sandbox.poll(again))


@promise("deadline")
def a_process_that_ends_by_itself_was_not_ended(stage: Stage) -> None:
    """Only what the deadline killed says so, whenever one asks."""
    with stage.new() as sandbox:
        done, killed = sandbox.start(["true"]), sandbox.start(["sleep", "3600"])
        _await_end(sandbox, done)
        sandbox.kill(killed)
        sandbox.set_deadline(0)
        expect(not sandbox.poll(done).deadline and not sandbox.poll(killed).deadline, sandbox.poll(killed))


@promise("deadline")
def what_is_no_time_is_refused(stage: Stage) -> None:
    """Rather than taken for never."""
    for seconds in (float("nan"), float("inf")):
        with expect_error(SandboxError, "bad_deadline"):
            stage.sandbox.set_deadline(seconds)


@promise("pids")
def the_deadline_ends_a_fork_bomb(stage: Stage) -> None:
    """At the process limit too, in time, and the sandbox goes on."""
    with stage.new(limits=SMALL) as sandbox:
        process = sandbox.start(["python3", "-c", BOMB])
        wait_until(lambda: sandbox.usage().processes >= SMALL.pids // 2, "the bomb")
        sandbox.set_deadline(0.3)
        took = _await_end(sandbox, process)
        expect(took < 0.3 + LATE_S and sandbox.poll(process).deadline, (took, sandbox.poll(process)))
        wait_until(lambda: sandbox.usage().processes == 0, "the death of all", LATE_S)
        sandbox.set_deadline(None)
        expect(text(sandbox, "echo on") == "on", "exec after it")


@promise("memory")
def the_deadline_holds_at_the_memory_limit(stage: Stage) -> None:
    """While the kernel kills one process after the other."""
    program = (
        "import os, time\n"
        "while True:\n"
        "    if not os.fork():\n"
        "        x = bytearray(60_000_000); time.sleep(600)\n"
        "    time.sleep(0.05)\n"
    )
    with stage.new(limits=SMALL) as sandbox:
        sandbox.start(["python3", "-c", program])
        wait_until(lambda: sandbox.usage().oom_kills >= 2, "a kill")
        sandbox.set_deadline(0.3)
        wait_until(lambda: sandbox.usage().processes == 0, "the death of all", 0.3 + LATE_S)
        with expect_error(SandboxError, "deadline"):
            sandbox.exec(["true"])


@promise("isolation")
def the_agent_cannot_move_the_deadline(stage: Stage) -> None:
    """Neither by signals to everybody, nor by the clock, nor through execd's sockets and memory."""
    program = """
import contextlib, ctypes, glob, os, signal, socket, time
for number in (signal.SIGSTOP, signal.SIGKILL):
    for pid in [int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) not in (os.getpid(), os.getppid())]:
        with contextlib.suppress(OSError): os.kill(pid, number)
for clock in (time.CLOCK_REALTIME, time.CLOCK_MONOTONIC, getattr(time, "CLOCK_BOOTTIME", 7)):
    with contextlib.suppress(OSError): time.clock_settime(clock, 5.0)
for path in ["/run/dojo/c", "/run/dojo/x", *glob.glob("/run/dojo/*")]:
    with contextlib.suppress(OSError):
        socket.socket(socket.AF_UNIX).connect(path)
        print("reached", path)
for path in [*glob.glob("/proc/[0-9]*/mem"), *glob.glob("/proc/[0-9]*/fd/*")]:
    if path.split("/")[2] != str(os.getpid()):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR)
            if "dojo-deadline" in os.readlink(f"/proc/self/fd/{descriptor}"): print("opened", path)
print("tried", flush=True)
time.sleep(3600)
"""
    with stage.new() as sandbox:
        sandbox.set_deadline(_LONG_S)
        process = sandbox.start(["python3", "-c", program])
        wait_until(lambda: b"tried" in sandbox.poll(process).stdout, "the attempts")
        expect(sandbox.poll(process).stdout == b"tried\n", sandbox.poll(process))
        sandbox.set_deadline(0.3)
        took = _await_end(sandbox, process)
        expect(took < 0.3 + LATE_S and sandbox.poll(process).deadline, (took, sandbox.poll(process)))
        with contextlib.suppress(SandboxError):
            sandbox.exec(["true"])
        wait_until(lambda: sandbox.usage().processes == 0, "the death of all", LATE_S)
