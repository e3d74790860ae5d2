"""Attacks across users: what accounts of the host and other runs get of a sandbox by being the same number (row 39)."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.attack.base import Attack, NotStopped, Where, stopped
from harness.attack.ground import Ground
from harness.attack.promised import promised
from harness.sandbox.base import Sandbox
from harness.sandbox.contract.promise import expect, wait_until
from harness.sandbox.contract.users import outside_id, spent, take_all

_ROW = 39
# What graders hold: items in memory, in a file, in the environment and in an open descriptor; argv: the items.
_HOLD = """
import os, sys, time
items = sys.argv[1]
open("/workspace/items", "w").write(items)
os.chmod("/workspace/items", 0o600)
held = open("/workspace/items")
os.environ["ITEMS"] = items
print("holds", flush=True)
time.sleep(600)
"""
_INSIDE = ("environ", "maps", "mem", "fd/3", "root/workspace/items", "cwd/items", "stack", "syscall", "io")


@contextlib.contextmanager
def _holding(ground: Ground) -> Iterator[tuple[Sandbox, int]]:
    """A sandbox with a process that holds items, and that process's number on this host."""
    mark = f"items-{os.urandom(8).hex()}"
    with ground.stage.new() as sandbox:
        process = sandbox.start(["python3", "-c", _HOLD, mark])
        wait_until(lambda: b"holds" in sandbox.poll(process, wait_s=1.0).stdout, "it holds its items")
        pids = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if _argument(path) == mark]
        expect(len(pids) == 1, f"{len(pids)} processes on this host are it")
        yield sandbox, pids[0]


def _argument(path: Path) -> str:
    try:
        return path.read_bytes().rstrip(b"\0").rpartition(b"\0")[2].decode(errors="replace")
    except OSError:
        return ""


def _taken_by(user: int, pid: int) -> list[str]:
    """Return what ``user`` of this host gets of the process ``pid``, in a child that becomes that user."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with contextlib.suppress(OSError):
                os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            os.write(writer, json.dumps(_takes(pid)).encode())
        except BaseException as exc:
            os.write(writer, json.dumps([f"could not try: {exc!r}"]).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        said: list[str] = json.loads(answer.read() or b'["could not try: it died"]')
    os.waitpid(child, 0)
    return said


def _takes(pid: int) -> list[str]:
    found = []
    for inside in _INSIDE:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/{inside}", "rb"):
            found.append(inside)
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        found.append("a signal")
    with contextlib.suppress(OSError):
        os.sched_setaffinity(pid, os.sched_getaffinity(0))
        found.append("its CPUs")
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, 19)
        found.append("its priority")
    return found


def _try_as(users: Callable[[Sandbox], set[int]], ground: Ground) -> str:
    if os.geteuid() != 0:
        return "dojo's user cannot become another; itself may read what it runs, as it may read the hidden split"
    with _holding(ground) as (sandbox, pid):
        accounts = users(sandbox)
        taken = {user: found for user in sorted(accounts) if (found := _taken_by(user, pid))}
        stopped(not taken, f"of a process of the sandbox: {taken}")
        return f"{len(accounts)} users of this host read, signal and slow nothing of it"


def _accounts(sandbox: Sandbox) -> set[int]:
    """Every account but root, the first two numbers that accounts are given, and who is a neighbour by number."""
    own = outside_id(sandbox)
    return {account.pw_uid for account in pwd.getpwall()} - {0} | {1000, 1001, own - 1, own + 1}


def _as_the_hosts_users(ground: Ground) -> str:
    return _try_as(_accounts, ground)


def _as_the_sandboxes_user(ground: Ground) -> str:
    """The host's user has the sandbox's number, as an account of the host's would where all sandboxes were 1000."""
    if os.geteuid() != 0:
        raise NotStopped("dojo's user owns the sandbox")
    return _try_as(lambda sandbox: {outside_id(sandbox)}, ground)


def _as_another_run(ground: Ground) -> str:
    with ground.stage.new() as agents, _holding(ground) as (_, pid):
        user = outside_id(agents)
        if os.geteuid() == 0:
            taken = _taken_by(user, pid)
            stopped(not taken, f"user {user}, another run's, gets {taken}")
        stopped(user != outside_id(ground.stage.sandbox), f"two sandboxes are user {user}")
        return f"user {user}, another run's, gets nothing of a grader's process"


def _take_from_others(ground: Ground) -> str:
    with ground.stage.new() as greedy, ground.stage.new() as other:
        take_all(greedy)
        return _nothing_spent(other)


def _take_from_oneself(ground: Ground) -> str:
    """The other is the same user: it is in the same sandbox."""
    with ground.stage.new() as greedy:
        take_all(greedy)
        return _nothing_spent(greedy)


def _nothing_spent(sandbox: Sandbox) -> str:
    gone = spent(sandbox)
    stopped(not gone, f"there is nothing left of {', '.join(gone)}")
    return "another run has its own inotify instances, pipe buffers, queued signals and message queues"


ATTACKS = (
    Attack(
        _ROW, "reads-as-a-user-of-the-host", Where.SANDBOX,
        "as every account of this host and the neighbours by number: read memory, environment, files and descriptors of a "
        "sandbox's process, signal it, take its CPUs and its priority",
        "each sandbox's user is a number that belongs to nobody",
        _as_the_hosts_users, _as_the_sandboxes_user,
    ),
    Attack(
        _ROW, "reads-as-another-run", Where.SANDBOX,
        "the same with the number of another run's user",
        "no two sandboxes have one user, the agent's and the grader's neither",
        _as_another_run, _as_the_sandboxes_user,
    ),
    Attack(
        _ROW, "takes-what-is-counted-by-user", Where.SANDBOX,
        "take all inotify instances, pipe buffers, queued signals and message queues that there are for a user",
        "each sandbox's user has its own",
        _take_from_others, _take_from_oneself,
    ),
    promised(
        _ROW, "has-an-account", "be a user that has an account, or be root, outside",
        "numbers come from a range that nobody hands out, without those that somebody has all the same",
        "no_account_of_the_host_is_a_sandboxes_user",
    ),
)  # fmt: skip
