"""The two ends of a person's shell, on a bare sandbox: floods, pastes, keys that nobody reads, what lives in the same place."""

import threading
import time
from collections.abc import Iterator

import pytest

from harness.sandbox.base import Sandbox, SandboxSpec
from harness.sandbox.registry import get_backend
from harness.session.shell import Shell, Size, running
from harness.spec.errors import UsageError
from harness.spec.task import Limits


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    backend = get_backend("namespace")
    bad = [check for check in backend.check() if not check.ok]
    if bad:
        pytest.skip(f"sandbox namespace is not to be had here: {bad[0].detail}")
    made = backend.create(SandboxSpec("shell-contract", Limits(cpus=1, memory_mb=500, disk_mb=200, pids=100)))
    yield made
    made.close()


def until(shell: Shell, text: bytes, seconds: float = 60) -> bytes:
    """Read until ``text`` is on the screen."""
    deadline, shown = time.monotonic() + seconds, b""
    while text not in shown:
        assert time.monotonic() < deadline, shown[-2000:]
        data = shell.read(0.5)
        assert data is not None, shown[-2000:]
        shown += data
    return shown


def test_a_flood_goes_through_whole_and_in_order(sandbox: Sandbox) -> None:
    shell = Shell.open(sandbox, Size(), "xterm")
    until(shell, b"$ ")
    shell.write(b"seq -f '%010.0f' 1 1700000; echo e''nd\n")  # 18.7 MB: more than one viewer carries
    shown = until(shell, b"end", 120)
    numbers = shown[shown.index(b"0000000001") : shown.rindex(b"end")].split()
    assert [int(numbers[0]), int(numbers[-1]), len(numbers)] == [1, 1_700_000, 1_700_000]


def test_a_long_paste_arrives_whole(sandbox: Sandbox) -> None:
    shell = Shell.open(sandbox, Size(), "xterm")
    until(shell, b"$ ")
    shell.write(b"stty -echo; cat > /tmp/pasted\n")
    lines = b"".join(b"%06d %s\n" % (number, b"x" * 60) for number in range(3000))
    shell.write(lines + b"\x04")
    shell.write(b"stty echo; echo d''one\n")
    until(shell, b"done")
    assert sandbox.read_file("/tmp/pasted") == lines


def test_keys_that_nobody_reads_hold_up_nothing(sandbox: Sandbox) -> None:
    shell = Shell.open(sandbox, Size(), "xterm")
    until(shell, b"$ ")
    shell.write(b"stty raw -echo; for i in 1 2 3 4 5 6 7 8; do sleep 0.5; echo t''ick; done; stty sane; echo o''ver\n")
    until(shell, b"tick")
    shell.write(b"y" * 100_000)
    until(shell, b"over")


def test_what_is_no_key_in_the_pipe_is_left_alone(sandbox: Sandbox) -> None:
    shell = Shell.open(sandbox, Size(), "xterm")
    until(shell, b"$ ")
    junk = b'no json\n{"size": "x"}\n[]\n{"keys": 3}\n{"size": [1e99, -1]}\n\xff\xfe\n'
    sandbox.exec(["sh", "-c", "cat > /tmp/.dojo-shell-1/keys"], stdin=junk)
    shell.write(b"echo st''ill\n")
    until(shell, b"still")
    assert running(sandbox) == [1]


def test_a_viewer_that_is_killed_is_replaced_and_nothing_is_lost(sandbox: Sandbox) -> None:
    shell = Shell.open(sandbox, Size(), "xterm")
    until(shell, b"$ ")
    shell.write(b"pkill -f '[v]iew-[0-9a-f]' ; sleep 0.3; echo af''ter\n")
    until(shell, b"after")


def test_reading_and_writing_from_two_threads_ends_with_the_shell(sandbox: Sandbox) -> None:
    shell = Shell.open(sandbox, Size(), "odd; term")
    until(shell, b"$ ")
    typing = threading.Thread(target=lambda: [shell.write(b"echo $TERM\n") for _ in range(20)] and shell.write(b"exit 7\n"))
    typing.start()
    shown = b""
    while (data := shell.read(1.0)) is not None:
        shown += data
    typing.join()
    assert shell.end().exit_code == 7 and shown.count(b"xterm\r\n") == 20
    assert running(sandbox) == []
    with pytest.raises(UsageError, match="no shell 1 that runs"):
        Shell.attach(sandbox, 1, Size())
