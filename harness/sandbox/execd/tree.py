"""Process trees: who descends from whom, and killing all of it.

Whoever calls `become_subreaper` before it starts a command is the ancestor of everything the command ever starts, however often
that forks, so the tree is found by descent and nothing of it gets away.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

# How long to wait for killed processes to be gone. Uninterruptible disk waits are the only thing that takes longer than moments.
DEATH_WAIT_S = 10.0


def children(pid: int) -> list[int]:
    """Return the children of ``pid``; empty when it is gone."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found.extend(int(part) for part in file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        if not _HAS_CHILDREN_FILES:
            return [p for p in all_pids() if parent(p) == pid]
    return found


def descendants(pid: int) -> list[int]:
    """Return everything below ``pid``, parents before children."""
    found = children(pid)
    for child in found:  # grows while it is read
        found.extend(c for c in children(child) if c not in found)
    return found


def all_pids() -> list[int]:
    """Return every process this one can see."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat from the state (field 3) on; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def parent(pid: int) -> int:
    """Return the parent of ``pid``, 0 when it is gone."""
    fields = stat_fields(pid)
    return int(fields[1]) if fields else 0


def running(pid: int) -> bool:
    """Whether ``pid`` is there and no zombie."""
    fields = stat_fields(pid)
    return bool(fields) and fields[0] not in "ZX"


def dead(pid: int) -> bool:
    """Whether ``pid`` has ended and nobody has collected it."""
    return stat_fields(pid)[:1] == ["Z"]


def can_run(pid: int) -> bool:
    """Whether ``pid`` is there, and neither dead nor stopped."""
    fields = stat_fields(pid)
    return bool(fields) and fields[0] not in "ZXTt"


def owner(pid: int) -> int:
    """Return the real user id of ``pid``, -1 when it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("Uid:"):
                    return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return -1


def cpu_seconds(pids: list[int]) -> float:
    """Return the CPU time of ``pids`` and of those of their children that have ended, seconds.

    Of a child whose parent ignores SIGCHLD nothing is left when it has ended; a control group, where there is one, counts it.
    """
    ticks = 0
    for pid in pids:
        fields = stat_fields(pid)
        if fields:
            ticks += sum(int(f) for f in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def send(pid: int, number: int) -> None:
    """Send a signal; fine if the process is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def reap() -> bool:
    """Collect ended children; return whether any child is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def kill_own_tree(spared: int = 0) -> int:
    """Kill everything below this process but the child ``spared``, collect it, and return how many survived.

    First a few rounds of SIGKILL; a tree that forks faster than that is stopped as a whole before it is killed, because the
    stopped part only grows and a stopped process cannot fork.
    """
    deadline = time.monotonic() + DEATH_WAIT_S
    me, rounds = os.getpid(), 0
    while reap():
        left = [pid for pid in descendants(me) if pid != spared]
        if spared and not left:
            return 0
        if rounds >= 3:
            for pid in left:
                send(pid, signal.SIGSTOP)
            left = [pid for pid in descendants(me) if pid != spared]
        for pid in reversed(left):
            send(pid, signal.SIGKILL)
        rounds += 1
        if time.monotonic() > deadline:
            return len([pid for pid in left if running(pid)])
        if rounds > 1:
            time.sleep(min(0.0005 * rounds, 0.02))
    return 0


_HAS_CHILDREN_FILES = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
