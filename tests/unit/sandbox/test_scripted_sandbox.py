"""The scripted sandbox behaves as the real ones do, as far as no command is needed to see it."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.sandbox.base import Backend, ExecResult, SandboxSpec
from harness.sandbox.contract import PROMISES, Promise, Stage
from harness.sandbox.scripted import ScriptedBackend, ScriptedSandbox, no_room
from harness.spec.errors import SandboxError, SandboxUnavailable
from harness.spec.outcome import Cause
from harness.spec.task import Limits

# promises that hold without anything that runs inside; the contract tests try the same ones on the real backends
KEPT = {
    "the_list_shows_what_exists",
    "attach_gives_the_same_place",
    "nobody_can_be_attached_to",
    "closing_twice_is_fine",
    "after_closing_every_call_says_that_it_is_gone",
    "destroy_ends_it_for_every_client",
    "ten_sandboxes_live_side_by_side",
    "an_unknown_process_is_an_error",
    "what_is_no_folder_cannot_be_archived",
    "kill_all_with_nobody_is_fine",
}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(ScriptedBackend(), tmp_path) as stage:
        yield stage


@pytest.fixture
def sandbox() -> ScriptedSandbox:
    return ScriptedSandbox(SandboxSpec("box", Limits()))


@pytest.mark.parametrize("promise", [p for p in PROMISES if p.name in KEPT], ids=str)
def test_the_script_keeps_the_promises_that_need_no_command(promise: Promise, stage: Stage) -> None:
    promise.check(stage)


def test_commands_are_recorded_and_answered_by_the_script() -> None:
    sandbox = ScriptedSandbox(SandboxSpec("box", Limits()), answer=lambda call: ExecResult(3, call.stdin, b""))
    assert sandbox.exec(["cat", "-"], stdin=b"in", user="root").stdout == b"in"
    assert [(call.argv, call.user) for call in sandbox.calls] == [(("cat", "-"), "root")]


def test_a_process_goes_on_as_the_test_says(sandbox: ScriptedSandbox) -> None:
    process = sandbox.start(["train"], name="agent")
    sandbox.processes[process].stdout = b"one\ntwo\n"
    status = sandbox.poll(process, stdout_offset=4)
    assert (status.running, status.stdout, status.stdout_offset) == (True, b"two\n", 8)
    sandbox.processes[process].end(9)
    sandbox.kill(process)
    assert sandbox.poll(process).exit_code == 9 and sandbox.start(["other"], name="agent") == process


def test_at_the_deadline_of_its_own_clock_everything_ends(sandbox: ScriptedSandbox) -> None:
    process = sandbox.start(["train"])
    sandbox.set_deadline(60)
    sandbox.pass_time(59)
    assert sandbox.poll(process).running
    sandbox.pass_time(1)
    assert sandbox.poll(process).deadline and not sandbox.poll(process).running
    with pytest.raises(SandboxError) as late:
        sandbox.exec(["true"])
    assert late.value.code == "deadline" and sandbox.exec(["true"], user="root").ok
    sandbox.set_deadline(None)
    assert sandbox.exec(["true"]).ok


def test_files_go_out_and_come_back(sandbox: ScriptedSandbox) -> None:
    sandbox.write_file("out/a/b", b"deep")
    sandbox.write_file("/workspace/out/c", b"flat")
    with pytest.raises(IsADirectoryError):
        sandbox.read_file("out/a")
    sandbox.extract("/copy", io.BytesIO(b"".join(sandbox.archive("/workspace/out"))))
    assert sandbox.read_file("/copy/a/b") == b"deep" and sandbox.read_file("/copy/c") == b"flat"


@pytest.mark.parametrize("cause", [Cause.SANDBOX, Cause.EVICTED, Cause.SCHEDULING])
def test_a_death_carries_its_cause(sandbox: ScriptedSandbox, cause: Cause) -> None:
    sandbox.die(cause, "the node was drained")
    with pytest.raises(SandboxUnavailable, match="the node was drained") as gone:
        sandbox.usage()
    assert gone.value.death.cause is cause and not sandbox.alive()


def test_creations_fail_in_the_order_of_the_script() -> None:
    backend = ScriptedBackend(failures=[no_room(), OSError(5, "Input/output error")])
    with pytest.raises(SandboxUnavailable) as full:
        backend.create(SandboxSpec("a", Limits()))
    assert full.value.death.cause is Cause.SCHEDULING
    with pytest.raises(OSError, match="Input/output"):
        backend.create(SandboxSpec("a", Limits()))
    assert backend.create(SandboxSpec("a", Limits())).alive() and len(backend.created) == 3


def test_an_unexplained_loss_is_the_sandboxs_own() -> None:
    assert SandboxUnavailable("it is gone").death.cause is Cause.SANDBOX


def test_type_checkers_take_it_for_a_backend() -> None:
    backend: Backend = ScriptedBackend()
    assert backend.check()[0].ok
