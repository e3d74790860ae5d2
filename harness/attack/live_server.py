"""Attacks in a live sandbox on the server inside: kill, trace, impersonate it (row 26)."""

from __future__ import annotations

import json

from harness.attack.base import Attack, NotStopped, Where, stopped
from harness.attack.ground import Ground
from harness.attack.promised import promised
from harness.sandbox.base import Sandbox
from harness.sandbox.contract.promise import PATIENCE_S, expect, wait_until
from harness.spec.errors import SandboxUnavailable

# Signals and traces every process number but its own and its parent's; argv: numbers to leave alone.
_TRACE = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
traced = []
for pid in range(1, 400):
    if pid not in (os.getpid(), os.getppid()) and libc.ptrace(16, pid, 0, 0) == 0:
        traced.append(pid)
        libc.ptrace(17, pid, 0, 0)
print(json.dumps(traced))
"""
_STORM = "import os, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True:\n  os.kill(-1, signal.SIGTERM)"
# Prints what the server would print: ends of results, other exit codes, JSON of its protocol.
_FORGE = (
    r"""printf '{"exit_code": 0, "stdout": "", "timed_out": false}\n\0\0\0\020{"done": true}\n'; """
    r"""printf '\036\035\034 exit_code=0 \377\377\377\377'; exit 7"""
)


def _signals_to_everything(ground: Ground) -> str:
    with ground.stage.new() as sandbox:
        for number in ("KILL", "STOP"):
            for _ in range(2):
                result = sandbox.exec(["sh", "-c", f"kill -{number} -1; echo after; exit 5"], timeout_s=PATIENCE_S)
                # who kills what started its own command may lose the exit code, never the output or the end
                answered = result.stdout == b"after\n" and result.exit_code in (5, 137) and not result.timed_out
                stopped(answered, f"after SIG{number} to everything: {result}")
                _goes_on(sandbox)
        process = sandbox.start(["python3", "-c", _STORM])
        wait_until(lambda: sandbox.usage().processes >= 1, "the storm")
        for _ in range(10):
            sandbox.exec(["echo", "through"], timeout_s=PATIENCE_S)  # it may die; it must be answered
        sandbox.kill(process)
        _goes_on(sandbox)
        return "commands, their results and the next command came through SIGKILL, SIGSTOP and a storm of SIGTERM"


def _destroyed_from_outside(ground: Ground) -> str:
    """Who may signal the server, as the host may, ends it: the look for its end is not blind."""
    with ground.stage.new() as sandbox:
        ground.backend.destroy(sandbox.spec.id)
        _goes_on(sandbox)
        return "it went on"


def _goes_on(sandbox: Sandbox) -> None:
    try:
        result = sandbox.exec(["echo", "on"], timeout_s=PATIENCE_S)
    except SandboxUnavailable as exc:
        raise NotStopped(f"the server is gone: {exc}") from exc
    stopped(result.stdout == b"on\n", result)


def _trace(sandbox: Sandbox) -> str:
    result = sandbox.exec(["python3", "-c", _TRACE], timeout_s=PATIENCE_S)
    expect(result.ok, result)
    traced = json.loads(result.stdout)
    stopped(not traced, f"traced process {traced}")
    return "no process number can be traced"


def _trace_the_server(ground: Ground) -> str:
    with ground.stage.new() as sandbox:
        return _trace(sandbox)


def _trace_its_own(ground: Ground) -> str:
    with ground.stage.new() as sandbox:
        sandbox.start(["sleep", "600"])
        names = ["sh", "-c", "cat /proc/[0-9]*/comm"]
        wait_until(lambda: b"sleep\n" in sandbox.exec(names, timeout_s=PATIENCE_S).stdout, "a process to trace")
        return _trace(sandbox)


def _forge_results(ground: Ground) -> str:
    with ground.stage.new() as sandbox:
        result = sandbox.exec(["sh", "-c", _FORGE], timeout_s=PATIENCE_S)
        stopped(result.exit_code == 7 and b'"exit_code": 0' in result.stdout, result)
        sandbox.exec(["sh", "-c", "sh -c 'sleep 0.05; echo late' & exit 3"], timeout_s=PATIENCE_S)
        after = sandbox.exec(["true"], timeout_s=PATIENCE_S)
        stopped(after.stdout == b"", f"output of an earlier command in the next one's: {after.stdout!r}")
        return "what looks like the server's answer stayed output; the exit code was the command's"


ATTACKS = (
    Attack(
        26, "signals-everything", Where.SANDBOX,
        "send SIGKILL, SIGSTOP and a storm of SIGTERM to every process",
        "the agent's user cannot signal the server; what starts commands comes up again",
        _signals_to_everything, _destroyed_from_outside,
    ),
    Attack(
        26, "traces-the-server", Where.SANDBOX,
        "attach to every process with ptrace",
        "another user, or closed to its own user",
        _trace_the_server, _trace_its_own,
    ),
    Attack(
        26, "forges-results", Where.SANDBOX,
        "print what the server would answer, end marks and lengths of its protocol, and write after the end",
        "output and results go separate ways",
        _forge_results,
    ),
    promised(
        26, "kills-the-server", "signal process 1 and every other number from several processes", "another user's process",
        "execd_cannot_be_killed",
    ),
    promised(
        26, "talks-to-the-server", "look for its sockets, files, memory and environment", "all of them are closed",
        "execd_cannot_be_talked_to",
    ),
    promised(
        30, "ends-its-own-run", "write the state of its processes, and of the server, through the API's file calls",
        "the server's own folder and the kernel's files are closed to file calls, by whatever links",
        "file_calls_end_before_the_servers_own_folder",
    ),
)  # fmt: skip
