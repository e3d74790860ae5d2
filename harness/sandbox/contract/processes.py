"""Promises about detached processes."""

from __future__ import annotations

import time

from harness.sandbox.base import ProcessStatus, Sandbox
from harness.sandbox.contract.commands import ESCAPEE
from harness.sandbox.contract.promise import PATIENCE_S, Stage, expect, expect_error, promise, sh, text, wait_until
from harness.spec.errors import SandboxError


def _to_end(sandbox: Sandbox, process: str) -> tuple[ProcessStatus, bytes, bytes]:
    """Follow a process by offsets until it has ended and all output is read."""
    out, err = b"", b""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        status = sandbox.poll(process, stdout_offset=len(out), stderr_offset=len(err), wait_s=1.0)
        out, err = out + status.stdout, err + status.stderr
        if not status.running and not status.stdout and not status.stderr:
            return status, out, err
        expect(time.monotonic() < deadline, (status, out[-200:], err[-200:]))


@promise("processes")
def a_started_process_tells_output_and_exit_code(stage: Stage) -> None:
    """Both streams, byte for byte, and how it ended."""
    process = stage.sandbox.start(["sh", "-c", "printf 'a\\000b'; echo err >&2; exit 3"])
    status, out, err = _to_end(stage.sandbox, process)
    expect((status.exit_code, out, err) == (3, b"a\0b", b"err\n"), (status, out, err))


@promise("processes")
def a_process_runs_until_it_ends(stage: Stage) -> None:
    """Running has no exit code yet."""
    process = stage.sandbox.start(["sh", "-c", "while [ ! -e go ]; do sleep 0.02; done; rm go"])
    status = stage.sandbox.poll(process)
    expect(status.running and status.exit_code is None, status)
    stage.sandbox.write_file("go", b"")
    expect(_to_end(stage.sandbox, process)[0].exit_code == 0, "how it ended")


@promise("processes")
def offsets_neither_lose_nor_repeat(stage: Stage) -> None:
    """Ten thousand lines read piece by piece are the same ten thousand lines."""
    process = stage.sandbox.start(["sh", "-c", "i=0; while [ $i -lt 10000 ]; do echo line $i; i=$((i+1)); done"])
    _, out, _ = _to_end(stage.sandbox, process)
    expect(out == b"".join(b"line %d\n" % n for n in range(10000)), len(out))
    middle = stage.sandbox.poll(process, stdout_offset=7)
    expect(middle.stdout.startswith(b"line 1\n") and middle.stdout_offset == 7 + len(middle.stdout), middle.stdout[:20])


@promise("processes")
def poll_returns_as_soon_as_there_is_news(stage: Stage) -> None:
    """It does not sit out its wait."""
    process = stage.sandbox.start(["sh", "-c", "sleep 0.3; echo news; sleep 600"])
    started = time.monotonic()
    status = stage.sandbox.poll(process, wait_s=PATIENCE_S)
    expect(status.stdout == b"news\n" and time.monotonic() - started < PATIENCE_S / 2, status)
    stage.sandbox.kill(process)


@promise("processes")
def poll_without_news_returns_after_its_wait(stage: Stage) -> None:
    """Not before, and not long after."""
    process = stage.sandbox.start(["sleep", "600"])
    started = time.monotonic()
    status = stage.sandbox.poll(process, wait_s=0.3)
    expect(status.running and 0.25 < time.monotonic() - started < PATIENCE_S / 2, time.monotonic() - started)
    stage.sandbox.kill(process)


@promise("processes")
def a_process_outlives_the_connection(stage: Stage) -> None:
    """A second client, attached by id, follows it from any offset."""
    process = stage.sandbox.start(["sh", "-c", "echo first; while [ ! -e on ]; do sleep 0.02; done; rm on; echo second"])
    wait_until(lambda: stage.sandbox.poll(process).stdout == b"first\n", "the first line")
    other = stage.backend.attach(stage.sandbox.spec.id)
    other.write_file("on", b"")
    status, out, _ = _to_end(other, process)
    expect(out == b"first\nsecond\n" and status.exit_code == 0, (status, out))


@promise("processes")
def kill_ends_the_whole_tree(stage: Stage) -> None:
    """When it returns, also what double-forked and ignores SIGTERM is dead."""
    process = stage.sandbox.start(["sh", "-c", ESCAPEE.format(name="tree.pid") + "echo ready; sleep 600"])
    wait_until(lambda: stage.sandbox.poll(process).stdout == b"ready\n", "the tree")
    stage.sandbox.kill(process)
    expect(stage.sandbox.usage().processes == 0, stage.sandbox.usage())
    status = stage.sandbox.poll(process)
    expect(not status.running and status.exit_code not in (None, 0), status)


@promise("processes")
def killing_an_ended_process_is_fine(stage: Stage) -> None:
    """And does not change how it ended."""
    process = stage.sandbox.start(["true"])
    _to_end(stage.sandbox, process)
    stage.sandbox.kill(process)
    expect(stage.sandbox.poll(process).exit_code == 0, stage.sandbox.poll(process))


@promise("processes")
def an_unknown_process_is_an_error(stage: Stage) -> None:
    """With a code of its own; ids that look like paths too."""
    for process in ("nobody", "../spool", ".."):
        with expect_error(SandboxError, "no_such_process"):
            stage.sandbox.poll(process)
        with expect_error(SandboxError, "no_such_process"):
            stage.sandbox.kill(process)


@promise("processes")
def a_known_name_returns_its_process(stage: Stage) -> None:
    """So a caller that crashed after starting may simply start again."""
    name = stage.new_id()
    first = stage.sandbox.start(["sh", "-c", "echo first; sleep 600"], name=name)
    second = stage.sandbox.start(["sh", "-c", "echo second"], name=name)
    wait_until(lambda: stage.sandbox.poll(second).stdout == b"first\n", "the first one's output")
    expect(first == second, (first, second))
    stage.sandbox.kill(first)


@promise("processes")
def a_missing_program_ends_with_127(stage: Stage) -> None:
    """And names it on stderr."""
    status, _, err = _to_end(stage.sandbox, stage.sandbox.start(["no-such-program"]))
    expect(status.exit_code == 127 and not status.started and b"no-such-program" in err, (status, err))


@promise("processes")
def folder_and_environment_are_passed(stage: Stage) -> None:
    """As for exec."""
    sh(stage.sandbox, "mkdir -p place")
    process = stage.sandbox.start(["sh", "-c", "basename $(pwd); echo $A; cat"], cwd="place", env={"A": "b"})
    expect(_to_end(stage.sandbox, process)[1] == b"place\nb\n", _to_end(stage.sandbox, process))


@promise("processes")
def processes_do_not_mix(stage: Stage) -> None:
    """Ten at once, each with its own output."""
    started = [stage.sandbox.start(["sh", "-c", f"sleep 0.1; echo {n}"]) for n in range(10)]
    expect(len(set(started)) == 10, started)
    seen = [_to_end(stage.sandbox, process)[1] for process in started]
    expect(seen == [b"%d\n" % n for n in range(10)], seen)


@promise("processes")
def commands_run_beside_a_process(stage: Stage) -> None:
    """Their end does not touch it."""
    process = stage.sandbox.start(["sleep", "600"])
    expect(text(stage.sandbox, "echo beside") == "beside", "exec")
    expect(stage.sandbox.poll(process).running, "it was killed")
    stage.sandbox.kill(process)


@promise("processes")
def a_flood_does_not_stop_a_process(stage: Stage) -> None:
    """What is kept of its output has an end; the process does not notice."""
    process = stage.sandbox.start(["sh", "-c", "head -c 60000000 /dev/zero; echo end > flood-end"])
    wait_until(lambda: not stage.sandbox.poll(process, stdout_offset=1 << 40).running, "the end of the flood")
    expect(text(stage.sandbox, "cat flood-end") == "end", "it did not get to its end")


@promise("processes")
def kill_all_leaves_nobody(stage: Stage) -> None:
    """Detached, escaped, ignoring: none survives, and the sandbox goes on."""
    with stage.new() as sandbox:
        processes = [sandbox.start(["sh", "-c", ESCAPEE.format(name=f"all{n}.pid") + "sleep 600"]) for n in range(3)]
        wait_until(lambda: text(sandbox, "ls *.pid 2>/dev/null | wc -l") == "3", "three trees")
        survivors = sandbox.kill_all()
        expect(survivors == 0 and sandbox.usage().processes == 0, (survivors, sandbox.usage()))
        for process in processes:
            wait_until(lambda process=process: not sandbox.poll(process).running, "the word of its end")  # type: ignore[misc]
        expect(text(sandbox, "echo on") == "on", "exec after kill_all")


@promise("processes")
def kill_all_with_nobody_is_fine(stage: Stage) -> None:
    """Zero survivors of zero."""
    expect(stage.sandbox.kill_all() == 0, "survivors")
