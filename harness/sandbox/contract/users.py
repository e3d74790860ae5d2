"""A user of its own: nothing that the kernel grants or counts by user is shared with other sandboxes or with the host's accounts.

A backend that has one user id for all of its sandboxes leaves this group out, and says so in its `check()`.
"""

from __future__ import annotations

import json
import pwd

from harness.sandbox.base import Sandbox
from harness.sandbox.contract.promise import PATIENCE_S, Stage, expect, promise, python, text, wait_until

# Takes all there is for one user, says "full" and holds it.
TAKE_ALL = """
import ctypes, fcntl, os, resource, signal, sys, time
libc, held = ctypes.CDLL(None, use_errno=True), []
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
while (one := libc.inotify_init1(0)) >= 0: held.append(one)
try:
    for size in (1 << 20, 1 << 16, 1 << 12):
        for _ in range(80):
            pipe = os.pipe()
            held.append(pipe)
            try: fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, size)
            except PermissionError: break
except OSError: pass
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
value = ctypes.c_void_p(0)
for _ in range(1 << 20):
    if libc.sigqueue(os.getpid(), signal.SIGRTMIN, value): break
try: librt = ctypes.CDLL("librt.so.1", use_errno=True)
except OSError: librt = libc
for n in range(400):
    if librt.mq_open(b"/dojo-%d" % n, os.O_CREAT | os.O_RDWR, 0o600, None) < 0: break
print("full", flush=True)
time.sleep(600)
"""
# Says what there is left for this user, by name: whether it works.
LEFT = """
import ctypes, fcntl, json, os, signal
libc, left = ctypes.CDLL(None, use_errno=True), {}
left["inotify"] = libc.inotify_init1(0) >= 0
left["pipes"] = fcntl.fcntl(os.pipe()[1], fcntl.F_GETPIPE_SZ) == 65536
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
left["queued signals"] = libc.sigqueue(os.getpid(), signal.SIGRTMIN, ctypes.c_void_p(0)) == 0
try: librt = ctypes.CDLL("librt.so.1", use_errno=True)
except OSError: librt = libc
left["message queues"] = librt.mq_open(b"/dojo-mine", os.O_CREAT | os.O_RDWR, 0o600, None) >= 0
print(json.dumps(left))
"""


def outside_id(sandbox: Sandbox) -> int:
    """Return the number by which the host knows the agent's user."""
    inside, *lines = text(sandbox, "id -u; cat /proc/self/uid_map").splitlines()
    for line in lines:
        first, outside, count = (int(part) for part in line.split())
        if first <= int(inside) < first + count:
            return outside + int(inside) - first
    raise AssertionError(f"the user {inside} is in no row of {lines}")


def take_all(sandbox: Sandbox) -> None:
    """Let the agent take, and hold, all that the kernel counts by user."""
    process = sandbox.start(["python3", "-c", TAKE_ALL])
    wait_until(lambda: b"full" in sandbox.poll(process, wait_s=1.0).stdout, "it has taken everything")


def spent(sandbox: Sandbox) -> list[str]:
    """Return what there is nothing left of, by name."""
    result = python(sandbox, LEFT, PATIENCE_S)
    expect(result.ok, result)
    return sorted(name for name, works in json.loads(result.stdout).items() if not works)


@promise("users")
def no_account_of_the_host_is_a_sandboxes_user(stage: Stage) -> None:
    """Nor is root; two sandboxes have two."""
    with stage.new() as other:
        ids = [outside_id(stage.sandbox), outside_id(other)]
    expect(0 not in ids and len(set(ids)) == 2, ids)
    for number in ids:
        expect(number not in {account.pw_uid for account in pwd.getpwall()}, f"user {number} has an account here")


@promise("users")
def what_the_kernel_counts_by_user_is_not_shared(stage: Stage) -> None:
    """One sandbox takes all inotify instances, pipe buffers, queued signals and message queues; another has its own."""
    with stage.new() as greedy:
        take_all(greedy)
        expect(not spent(stage.sandbox), spent(stage.sandbox))
