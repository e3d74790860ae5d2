"""Trees of real processes, below a child of the test that adopts what they leave."""

import os
import signal
import subprocess
import sys
import textwrap
import time

PREAMBLE = """
import os, signal, subprocess, sys, time
from harness.sandbox.execd import syscalls, tree
syscalls.become_subreaper()
"""


def below_a_subreaper(body: str) -> str:
    """Run ``body`` in a process that adopts all descendants; return what it prints."""
    program = PREAMBLE + textwrap.dedent(body)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_everything_that_descends_from_a_process_is_killed() -> None:
    """A double fork with its own session and SIGTERM ignored, an exec, and a plain child."""
    said = below_a_subreaper("""
        script = "trap '' TERM; (setsid sh -c \\"trap '' TERM; sleep 300 & sleep 300\\" &) ; (sleep 300 &); echo ready; sleep 300"
        child = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE)
        child.stdout.readline()
        while len(tree.descendants(os.getpid())) < 5:
            time.sleep(0.01)
        seen = tree.descendants(os.getpid())
        print(tree.kill_own_tree(), len(seen) >= 5, any(tree.running(pid) for pid in seen))
    """)
    assert said == "0 True False\n"


def test_a_fork_bomb_is_outrun() -> None:
    """Thirty-two processes that each keep a short-lived child."""
    said = below_a_subreaper("""
        child = subprocess.Popen([sys.executable, "-c", "import os,time\\nfor _ in range(5): os.fork()\\nwhile True:\\n"
                                  "  if os.fork() == 0:\\n    time.sleep(0.02); os._exit(0)\\n  os.wait()"])
        while len(tree.descendants(os.getpid())) < 32:
            time.sleep(0.01)
        print(tree.kill_own_tree(), tree.descendants(os.getpid()))
    """)
    assert said == "0 []\n"


def test_a_spared_child_lives_on() -> None:
    said = below_a_subreaper("""
        spared, other = (subprocess.Popen(["sleep", "300"]) for _ in range(2))
        print(tree.kill_own_tree(spared.pid), tree.running(spared.pid), tree.running(other.pid))
        spared.kill()
    """)
    assert said == "0 True False\n"


def test_states_are_told_apart() -> None:
    from harness.sandbox.execd import tree

    child = subprocess.Popen(["sleep", "300"])
    try:
        assert tree.running(child.pid) and tree.can_run(child.pid) and tree.parent(child.pid) == os.getpid()
        assert tree.owner(child.pid) == os.getuid() and child.pid in tree.children(os.getpid())
        child.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 10
        while tree.can_run(child.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert tree.running(child.pid) and not tree.can_run(child.pid)
    finally:
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not tree.running(child.pid)
        child.wait()
    assert not tree.running(child.pid) and tree.stat_fields(child.pid) == [] and tree.owner(child.pid) == -1


def test_cpu_time_of_ended_children_counts() -> None:
    from harness.sandbox.execd import tree

    before = tree.cpu_seconds([os.getpid()])
    subprocess.run([sys.executable, "-c", "x = sum(range(8_000_000))"], check=True)
    assert tree.cpu_seconds([os.getpid()]) > before + 0.05
