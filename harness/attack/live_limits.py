"""Attacks in a live sandbox on limits and on the end: raise them, exhaust them, outlive them (rows 14, 16, 25, 27)."""

from __future__ import annotations

import hashlib
import json
import time

from harness.attack.base import Attack, NotStopped, Where, stopped
from harness.attack.ground import Ground
from harness.attack.promised import promised
from harness.sandbox.base import Sandbox
from harness.sandbox.contract.commands import ESCAPEE
from harness.sandbox.contract.promise import PATIENCE_S, expect, wait_until

# Tries to give itself more; argv: how many open files it may have at most.
_RAISE = """
import ctypes, glob, json, os, resource, sys
raised = []
def attempt(name, action):
    try:
        action()
        raised.append(name)
    except (OSError, ValueError):
        pass
most = int(sys.argv[1])
attempt("open files", lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)))
attempt("priority", lambda: os.nice(-5))
attempt("real-time scheduling", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
def less_killable():  # than an ordinary process of the host
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1")
attempt("out-of-memory score", less_killable)
def clock():
    import time
    time.clock_settime(time.CLOCK_REALTIME, time.time() + 3600)
attempt("clock", clock)
groups = glob.glob("/sys/fs/cgroup/**/*", recursive=True) + glob.glob("/run/**/group/*", recursive=True)
def write(path):
    with open(path, "w") as file:
        file.write(str(os.getpid()))
for path in groups:
    if path.endswith(("procs", "tasks", "limit_in_bytes", "memory.max", "pids.max", "cpu.max", "quota_us")):
        attempt(path, lambda path=path: write(path))
print(json.dumps(raised))
"""
# A child that leaves its parent and session, ignores what can be ignored and keeps on writing into what was handed in.
_WRITER = """
import os, signal, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.makedirs("handed-in", exist_ok=True)
        # in place and never shorter: what is torn while it is read is refused, and would prove nothing here
        weights, count = os.open("handed-in/weights", os.O_CREAT | os.O_WRONLY), 0
        while True:
            count += 1
            os.pwrite(weights, b"%020d" % count, 0)
            time.sleep(0.002)
    os._exit(0)
time.sleep(600)
"""
_FLOOD = "sh -c \"trap '' TERM; while :; do head -c 1000000 /dev/zero; done\" & yes 0123456789 >&2"
_MIB = 1024 * 1024


def _raise_limits(sandbox: Sandbox, open_files: int) -> str:
    result = sandbox.exec(["python3", "-c", _RAISE, str(open_files)], timeout_s=PATIENCE_S)
    expect(result.ok, result)
    raised = json.loads(result.stdout)
    stopped(not raised, f"raised: {', '.join(raised)}")
    return "open files, priority, scheduling, out-of-memory score, clock and control groups stayed as they were"


def _raise_its_limits(ground: Ground) -> str:
    with ground.stage.new() as sandbox:
        return _raise_limits(sandbox, 1_000_000)


def _stay_below_its_limits(ground: Ground) -> str:
    with ground.stage.new() as sandbox:
        return _raise_limits(sandbox, 100)


def _start_writer(sandbox: Sandbox) -> None:
    sandbox.start(["python3", "-c", _WRITER])
    wait_until(lambda: sandbox.exec(["test", "-s", "handed-in/weights"]).ok, "the writer")


def _same_twice(sandbox: Sandbox) -> str:
    """Take the folder in twice, with commands in between that give a leftover process time to write."""
    digests = []
    for _ in range(2):
        digests.append(hashlib.sha256(b"".join(sandbox.archive("/workspace/handed-in"))).hexdigest())
        for _ in range(20):
            sandbox.exec(["sleep", "0.01"], timeout_s=PATIENCE_S)
    stopped(digests[0] == digests[1], "what was handed in changed between two collections")
    return f"taken in twice, the same bytes: {digests[0][:12]}"


def _write_after_collection(ground: Ground) -> str:
    with ground.stage.new() as sandbox:
        _start_writer(sandbox)
        survivors = sandbox.kill_all()
        stopped(survivors == 0, f"{survivors} processes survived")
        return _same_twice(sandbox)


def _write_while_alive(ground: Ground) -> str:
    with ground.stage.new() as sandbox:
        _start_writer(sandbox)
        return _same_twice(sandbox)


def _outlive(ground: Ground) -> str:
    """Three escaped trees, a process that forks without end beside them, then the end of the run."""
    with ground.stage.new() as sandbox:
        for number in range(3):
            sandbox.start(["sh", "-c", ESCAPEE.format(name=f"tree{number}.pid") + "sleep 600"])
        wait_until(lambda: sandbox.exec(["sh", "-c", "[ $(ls tree*.pid | wc -l) = 3 ]"]).ok, "three trees")
        sandbox.start(["python3", "-c", "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"])
        wait_until(lambda: sandbox.usage().processes > 20, "the forks")
        survivors, left = sandbox.kill_all(), sandbox.usage().processes
        stopped(survivors == 0 and left == 0, f"{survivors} survivors, {left} processes left")
    stopped(sandbox.spec.id not in ground.backend.list(), "the sandbox is still listed")
    return "0 survivors of three escaped trees and a fork bomb; nothing of the sandbox is left"


def _outlive_without_a_kill(ground: Ground) -> str:
    with ground.stage.new() as sandbox:
        sandbox.start(["sh", "-c", ESCAPEE.format(name="tree.pid") + "sleep 600"])
        wait_until(lambda: sandbox.exec(["test", "-s", "tree.pid"]).ok, "the tree")
        left = sandbox.usage().processes
        stopped(left == 0, f"{left} processes live on while nobody kills them")
    return "no process"


def _flood_at_the_deadline(ground: Ground) -> str:
    with ground.stage.new() as sandbox:
        started = time.monotonic()
        result = sandbox.exec(["sh", "-c", _FLOOD], timeout_s=1.5)
        took = time.monotonic() - started
        stopped(result.timed_out and took < PATIENCE_S, f"ended after {took:.0f} s, timed_out={result.timed_out}")
        kept = len(result.stdout) + len(result.stderr)
        stopped(result.truncated and kept < 6 * _MIB, f"{kept} bytes were kept")
        stopped(sandbox.usage().processes == 0, f"{sandbox.usage().processes} processes live on")
        return f"ended after {took:.1f} s with {kept / _MIB:.1f} MiB kept of both streams"


def _fake_the_time(ground: Ground) -> str:
    """Every clock that a program reads is patched; the harness's deadline must not notice."""
    with ground.stage.new() as sandbox:
        sandbox.write_file(
            "sitecustomize.py", b"import time\ntime.time = time.monotonic = lambda: 0.0\ntime.sleep = lambda s: None\n"
        )
        program = "import time\nassert time.time() == 0.0\nwhile True: pass"
        started = time.monotonic()
        result = sandbox.exec(["python3", "-c", program], env={"PYTHONPATH": "/workspace"}, timeout_s=1.0)
        took = time.monotonic() - started
        if not result.timed_out:
            raise NotStopped(f"the deadline did not come: {result}")
        return f"with its clocks at 0 it ended after {took:.1f} s of a 1 s deadline; duration_s {result.duration_s:.1f}"


def _fake_the_time_it_reports(ground: Ground) -> str:
    """What believes the program's own word sees no time go by."""
    with ground.stage.new() as sandbox:
        sandbox.write_file("sitecustomize.py", b"import time\ntime.time = lambda: 0.0\n")
        program = "import time\nstart = time.time()\nfor _ in range(10**6): pass\nprint(time.time() - start)"
        result = sandbox.exec(["python3", "-c", program], env={"PYTHONPATH": "/workspace"}, timeout_s=PATIENCE_S)
        stopped(float(result.stdout) > 0, "the program says that it took no time")
    return "the program's own clock was believed"


ATTACKS = (
    Attack(
        14, "patches-the-clock", Where.SANDBOX,
        "replace the clocks of every Python process through sitecustomize and run past a deadline",
        "the clock is outside",
        _fake_the_time, _fake_the_time_it_reports,
    ),
    Attack(
        16, "raises-its-limits", Where.SANDBOX,
        "raise open files, priority, scheduling class and out-of-memory score, set the clock, write to control groups",
        "no capability, and control groups that are not there or not its own",
        _raise_its_limits, _stay_below_its_limits,
    ),
    Attack(
        16, "outlives-the-end", Where.SANDBOX,
        "fork twice, leave session and parent, ignore SIGTERM and fork without end while everything is killed",
        "SIGKILL to the whole tree from outside, until none is left",
        _outlive, _outlive_without_a_kill,
    ),
    promised(
        16, "outlives-a-deadline", "leave a command's tree before its end, or a run that has no harness",
        "the whole tree dies with it, and the sandbox keeps its own deadline",
        "a_deadline_kills_what_tries_to_get_away", "the_end_of_the_command_is_the_end_of_its_tree", "kill_ends_the_whole_tree",
        "kill_all_leaves_nobody", "the_deadline_is_kept_when_the_harness_was_killed", "the_agent_cannot_move_the_deadline",
    ),
    Attack(
        25, "floods-at-the-deadline", Where.SANDBOX,
        "flood both streams from a child that ignores SIGTERM until the deadline and beyond",
        "output is capped with head and tail kept, and the tree is killed",
        _flood_at_the_deadline,
    ),
    promised(
        25, "bombs-with-forks", "fork without end, beside calls that must go on", "a limit on processes",
        "a_fork_bomb_stays_inside", "everything_works_beside_a_fork_bomb",
    ),
    promised(
        25, "eats-memory", "take more memory than allowed, in one process, in many, in files in memory", "a limit on all of it",
        "a_command_above_the_memory_limit_is_killed", "many_processes_together_are_limited",
        "filling_the_temporary_places_ends_no_sandbox",
    ),
    promised(
        25, "fills-the-disk", "fill every writable place, and stay full while files are collected", "a disk with one limit",
        "a_full_disk_is_a_clean_error", "one_limit_holds_for_all_writable_places", "the_limit_is_near_what_was_asked_for",
        "a_full_disk_stops_neither_commands_nor_collection",
    ),
    promised(
        25, "takes-handles-and-cpu", "open descriptors without end and burn more processor time than allowed", "limits on both",
        "the_descriptor_limit_holds", "the_cpu_limit_holds",
    ),
    promised(
        25, "floods-output", "print without end, from commands and detached processes", "caps on what is kept",
        "a_flood_keeps_head_and_tail", "both_streams_may_flood_at_once", "a_flood_does_not_stop_a_process",
    ),
    Attack(
        27, "writes-after-collection", Where.SANDBOX,
        "leave a process that escaped twice and rewrites the submission every 2 ms while it is collected",
        "everything of the agent is dead before the collection",
        _write_after_collection, _write_while_alive,
    ),
)  # fmt: skip
