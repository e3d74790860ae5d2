"""Promises about limits, one group for each: ``memory``, ``pids``, ``cpu``, ``disk``, ``open-files``."""

from __future__ import annotations

import errno
import time

from harness.sandbox.contract.promise import LIMITS, PATIENCE_S, Stage, expect, promise, python, sh, text, wait_until
from harness.spec.task import Limits

SMALL = Limits(cpus=2.0, memory_mb=128, pids=40, disk_mb=48, open_files=128)
BOMB = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"


@promise("memory")
def a_command_above_the_memory_limit_is_killed(stage: Stage) -> None:
    """The result says why, and the sandbox goes on."""
    with stage.new(limits=SMALL) as sandbox:
        result = python(sandbox, "x = bytearray(400_000_000)")
        expect(not result.ok and result.oom_killed and not result.timed_out, result)
        after = sandbox.exec(["echo", "on"], timeout_s=PATIENCE_S)
        expect(after.stdout == b"on\n" and not after.oom_killed, after)
        expect(sandbox.usage().oom_kills >= 1, sandbox.usage())


@promise("memory")
def many_processes_together_are_limited(stage: Stage) -> None:
    """The limit is the sandbox's, not each process's."""
    program = (
        "import os, time\nfor _ in range(8):\n    if not os.fork(): x = bytearray(60_000_000); time.sleep(60); os._exit(0)\n"
    )
    with stage.new(limits=SMALL) as sandbox:
        sandbox.start(["python3", "-c", program + "time.sleep(60)"])
        wait_until(lambda: sandbox.usage().oom_kills >= 1, "a kill")
        expect(sandbox.usage().memory_peak_mb <= SMALL.memory_mb + 1, sandbox.usage())


@promise("memory")
def a_process_killed_for_memory_says_so(stage: Stage) -> None:
    """As exec does."""
    with stage.new(limits=SMALL) as sandbox:
        process = sandbox.start(["python3", "-c", "x = bytearray(400_000_000)"])
        wait_until(lambda: not sandbox.poll(process).running, "its end")
        expect(sandbox.poll(process).oom_killed, sandbox.poll(process))


@promise("memory")
def filling_the_temporary_places_ends_no_sandbox(stage: Stage) -> None:
    """Whatever they are made of."""
    with stage.new(limits=SMALL.model_copy(update={"disk_mb": 400})) as sandbox:
        sh(sandbox, 'head -c 300000000 /dev/zero > "$TMPDIR/fill"; head -c 300000000 /dev/zero > /dev/shm/fill')
        expect(sandbox.alive() and sandbox.kill_all() == 0, "dead")
        sandbox.exec(["true"], timeout_s=PATIENCE_S)


@promise("pids")
def a_fork_bomb_stays_inside(stage: Stage) -> None:
    """It reaches the limit, not more; its deadline ends it; the sandbox goes on."""
    with stage.new(limits=SMALL) as sandbox:
        process = sandbox.start(["python3", "-c", "import time; time.sleep(600)"])
        wait_until(lambda: sandbox.usage().processes == 1, "the process that must live on")
        result = sandbox.exec(["python3", "-c", BOMB], timeout_s=2.0)
        expect(result.timed_out, result)
        expect(sandbox.usage().processes == 1 and sandbox.poll(process).running, sandbox.usage())
        expect(text(sandbox, "echo on") == "on", "exec after it")


@promise("pids")
def everything_works_beside_a_fork_bomb(stage: Stage) -> None:
    """Files, archives, usage; a command may be refused but is answered; kill_all ends it."""
    with stage.new(limits=SMALL) as sandbox:
        sandbox.write_file("kept", b"kept")
        sandbox.start(["python3", "-c", BOMB])
        wait_until(lambda: sandbox.usage().processes >= SMALL.pids // 2, "the bomb")
        expect(sandbox.usage().processes <= SMALL.pids, sandbox.usage())
        expect(sandbox.read_file("kept") == b"kept" and len(b"".join(sandbox.archive("/workspace"))) > 0, "files")
        sandbox.exec(["true"], timeout_s=5.0)
        expect(sandbox.kill_all() == 0, "survivors")
        expect(text(sandbox, "echo on") == "on", "exec after it")


@promise("cpu")
def the_cpu_limit_holds(stage: Stage) -> None:
    """Two busy loops on half a core use half a core."""
    with stage.new(limits=LIMITS.model_copy(update={"cpus": 0.5})) as sandbox:
        before, started = sandbox.usage().cpu_s, time.monotonic()
        sh(sandbox, "(while :; do :; done) & while :; do :; done", timeout_s=3.0)
        used, took = sandbox.usage().cpu_s - before, time.monotonic() - started
        expect(used < 0.5 * took * 1.3 + 0.1, (used, took))


@promise("cpu")
def the_cpu_seconds_of_a_process_that_nobody_waits_for_count(stage: Stage) -> None:
    """A parent that ignores the end of its children hides their CPU-seconds from everybody but the control group."""
    burn = "import time\nwhile time.process_time() < 0.5: pass\n"
    program = "import signal, subprocess, sys\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    with stage.new() as sandbox:
        python(sandbox, "pass")
        before = sandbox.usage().cpu_s
        result = python(sandbox, program + f"subprocess.Popen([sys.executable, '-c', {burn!r}]).wait()\n")
        used = sandbox.usage().cpu_s - before
        expect(result.ok and used >= 0.45, (used, result))


@promise("disk")
def a_full_disk_is_a_clean_error(stage: Stage) -> None:
    """For files and for commands, and space that is freed can be used again."""
    with stage.new(limits=SMALL) as sandbox:
        try:
            sandbox.write_file("too-much", bytes(60_000_000))
        except OSError as exc:
            expect(exc.errno == errno.ENOSPC, exc)
        else:
            expect(False, "60 MB fit into 48")
        result = sh(sandbox, "head -c 60000000 /dev/zero > too-much; echo code $?; rm too-much")
        expect(b"code 1" in result.stdout and b"No space left" in result.stderr, result)
        sandbox.write_file("fits", bytes(20_000_000))
        expect(sandbox.usage().disk_mb < SMALL.disk_mb, sandbox.usage())


@promise("disk")
def one_limit_holds_for_all_writable_places(stage: Stage) -> None:
    """The workspace, /tmp and /dev/shm share it."""
    with stage.new(limits=SMALL) as sandbox:
        result = sh(sandbox, "for d in /workspace /tmp /dev/shm; do head -c 20000000 /dev/zero > $d/third; echo $?; done")
        expect(result.stdout.split() == [b"0", b"0", b"1"], result)


@promise("disk")
def the_limit_is_near_what_was_asked_for(stage: Stage) -> None:
    """Ninety per cent of it can be used, and not more than a hundred and ten."""
    with stage.new(limits=SMALL) as sandbox:
        room = int(text(sandbox, "head -c 100000000 /dev/zero > fill 2>/dev/null; stat -c %s fill")) / 1048576
        expect(0.9 * SMALL.disk_mb <= room <= 1.1 * SMALL.disk_mb, room)


@promise("disk")
def a_full_disk_stops_neither_commands_nor_collection(stage: Stage) -> None:
    """Commands run, detached output is kept, files can be archived."""
    with stage.new(limits=SMALL) as sandbox:
        sh(sandbox, "echo work > work; head -c 100000000 /dev/zero > fill")
        expect(sh(sandbox, "echo still here").stdout == b"still here\n", "exec")
        process = sandbox.start(["sh", "-c", "echo said at the end"])
        wait_until(lambda: sandbox.poll(process).stdout == b"said at the end\n", "detached output")
        sh(sandbox, "rm fill")
        expect(len(b"".join(sandbox.archive("/workspace"))) >= 1024, "archive")


@promise("open-files")
def the_descriptor_limit_holds(stage: Stage) -> None:
    """And cannot be raised."""
    with stage.new(limits=SMALL) as sandbox:
        expect(text(sandbox, "ulimit -Hn") == str(SMALL.open_files), "ulimit")
        program = f"import os\nn = 0\ntry:\n    while True: os.dup(0); n += 1\nexcept OSError: print(n <= {SMALL.open_files})"
        expect(python(sandbox, program).stdout == b"True\n", "more were opened")
        raised = python(sandbox, "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (100000, 100000))")
        expect(not raised.ok, raised)
