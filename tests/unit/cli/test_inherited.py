"""Signals and limits that a process takes over from its caller."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.sandbox.sandbox_user import likely_user
from harness.sandbox.this_host import run_jail

# A caller that spoils all it can, then the settled process.
PROGRAM = """
import json, os, resource, signal, subprocess
for number in (signal.SIGCHLD, signal.SIGALRM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD, signal.SIGINT])
for name, soft in (("NOFILE", 64), ("FSIZE", 1 << 20)):
    kind = getattr(resource, f"RLIMIT_{name}")
    resource.setrlimit(kind, (soft, resource.getrlimit(kind)[1]))
os.umask(0o077)
from harness.cli.inherited import settle
settle()
print(json.dumps({
    "child": subprocess.run(["sh", "-c", "exit 3"]).returncode,
    "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "soft is hard": [len(set(resource.getrlimit(kind))) for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)],
    "nohup stays": signal.getsignal(signal.SIGHUP) is signal.SIG_IGN,
    "umask": os.umask(0),
}))
"""


def test_signals_come_limits_are_the_hard_ones_and_nohup_and_the_umask_stay() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {
        "child": 3, "blocked": 0, "soft is hard": [1, 1], "nohup stays": True, "umask": 0o077,
    }  # fmt: skip


JAIL = """
import json, signal
from harness.sandbox.sandbox_user import likely_user
from harness.sandbox.this_host import run_jail
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
mode, maps = likely_user()
print(json.dumps(run_jail("probe", mode, json.dumps(maps))))
"""


def test_a_sandbox_is_made_where_the_caller_ignores_its_childrens_endings() -> None:
    mode, maps = likely_user()
    if not run_jail("probe", mode, json.dumps(maps))["ok"]:
        pytest.skip("no namespaces here")
    done = subprocess.run([sys.executable, "-c", JAIL], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["ok"], done.stdout


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077])
def test_a_mode_that_is_asked_for_is_the_files_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    from harness.files import write_atomic

    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "tool", b"x", 0o755)
        write_atomic(tmp_path / "secret", b"x", 0o600)
        write_atomic(tmp_path / "own", b"x")
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "tool", tmp_path / "secret", tmp_path / "own")]
    assert modes == [0o755, 0o600, 0o644 & ~umask]
