"""What answers for a sandbox lives with the agent: whatever it says is a result or a known error, and never a hang."""

from __future__ import annotations

import io
import json
import socket
import struct
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.sandbox.base import SandboxSpec
from harness.sandbox.client import ExecdSandbox
from harness.spec.errors import SandboxError
from harness.spec.outcome import Cause, Death
from harness.spec.task import Limits

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
NAMES = (
    "exit_code", "stdout", "stderr", "timed_out", "duration_s", "process", "running", "stdout_offset", "stderr_offset",
    "oom_killed", "survivors", "cpu_s", "memory_bytes", "disk_bytes", "processes", "kind", "errno", "message", "path", "code",
)  # fmt: skip
PLAUSIBLE = st.dictionaries(st.sampled_from(NAMES), VALUES | st.sampled_from(["os", "busy", "refused"]), max_size=20)
HEADS = st.dictionaries(st.sampled_from(["ok", "error", "end"]), PLAUSIBLE | VALUES, max_size=2) | VALUES


class Host:
    """A host on which each connection is answered once with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def connect(self, channel: str) -> socket.socket:
        near, far = socket.socketpair()

        def serve() -> None:
            with far:
                far.recv(1 << 16)
                try:
                    far.sendall(self._answer)
                    far.shutdown(socket.SHUT_WR)
                    far.settimeout(5)
                    while far.recv(1 << 16):
                        pass
                except OSError:
                    pass

        threading.Thread(target=serve, daemon=True).start()
        return near

    def cause_of_death(self) -> Death:
        return Death(Cause.SANDBOX, "it says odd things")

    def measured(self) -> tuple[float | None, float | None, int]:
        return None, None, 0

    def destroy(self) -> None:
        pass


def frame(head: bytes, body: bytes = b"") -> bytes:
    return struct.pack("!IQ", len(head), len(body)) + head + body


CALLS = {
    "exec": lambda sandbox: sandbox.exec(["ls"], timeout_s=1),
    "start": lambda sandbox: sandbox.start(["ls"]),
    "poll": lambda sandbox: sandbox.poll("x"),
    "kill": lambda sandbox: sandbox.kill("x"),
    "kill_all": lambda sandbox: sandbox.kill_all(),
    "usage": lambda sandbox: sandbox.usage(),
    "read": lambda sandbox: sandbox.read_file("/x", max_bytes=10),
    "write": lambda sandbox: sandbox.write_file("/x", b"x"),
    "archive": lambda sandbox: list(sandbox.archive("/x")),
    "extract": lambda sandbox: sandbox.extract("/x", io.BytesIO(b"x")),
}


def tried(call: str, answer: bytes) -> Any:
    sandbox = ExecdSandbox(SandboxSpec("s", Limits()), Host(answer))  # type: ignore[arg-type]
    try:
        return CALLS[call](sandbox)
    except (SandboxError, OSError) as exc:
        return exc
    finally:
        sandbox.close()


@pytest.mark.parametrize("call", CALLS)
@settings(max_examples=40, deadline=None)
@given(head=HEADS, body=st.binary(max_size=20))
def test_any_answer_is_a_result_or_a_known_error(call: str, head: Any, body: bytes) -> None:
    tried(call, frame(json.dumps(head).encode(), body))


def test_a_number_that_is_none_is_no_result() -> None:
    assert isinstance(tried("exec", frame(b'{"ok": {"exit_code": Infinity, "stdout": 0, "duration_s": 0}}')), SandboxError)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "answer",
    [
        b"", b"\x00", b"HTTP/1.1 200 OK\r\n\r\n" * 9, frame(b"{"), frame(b"\xff\xfe"), frame(b"[" * 100_000), frame(b"{}"),
        struct.pack("!IQ", 2**32 - 1, 0), struct.pack("!IQ", 2, 2**63) + b"{}",
        frame(b'{"error": {"kind": "os", "errno": "x", "message": [], "path": {}}}'), frame(b'{"ok": ' + b"9" * 5000 + b"}"),
    ],
    ids=["nothing", "a byte", "HTTP", "half", "no UTF-8", "deep", "empty", "huge head", "huge body", "odd error", "digits"],
)  # fmt: skip
def test_what_is_no_answer_of_execds_is_an_error_of_the_sandbox(call: str, answer: bytes) -> None:
    assert isinstance(tried(call, answer), SandboxError | OSError)
