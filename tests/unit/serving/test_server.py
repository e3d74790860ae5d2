"""The server on a unix socket itself: clients that are slow, gone or many; hanging up; the net; the spool."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from harness.serving import server as serving
from harness.serving.net import Net
from harness.serving.server import UnixServer
from harness.serving.spool import Spool
from harness.spec.errors import DojoError, StoreError

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("hello")(scope, receive, send)


@contextlib.contextmanager
def served(path: Path, app: Any = hello, **options: Any) -> Iterator[UnixServer]:
    server = UnixServer(app, path, "test", **options)
    try:
        yield server
    finally:
        server.close(drain_s=1)


@contextlib.contextmanager
def connected(path: Path, data: bytes = b"") -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        if data:  # to send nothing to one who has hung up is an error too
            connection.sendall(data)
        yield connection


def rest(connection: socket.socket) -> bytes:
    """Everything until the other end closes; a reset is a close."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            got += data
    return got


def answer_of(connection: socket.socket) -> bytes:
    """One whole answer."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(65536)
    head, _, body = got.partition(b"\r\n\r\n")
    size = int(head.lower().split(b"content-length:")[1].split()[0])
    while len(body) < size:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def test_the_socket_is_its_owners_and_made_anew(tmp_path):
    path = tmp_path / "s"
    path.write_text("left behind")
    with served(path):
        assert stat.S_ISSOCK(path.stat().st_mode) and path.stat().st_mode & 0o777 == 0o600
        with connected(path, ASK) as connection:
            assert answer_of(connection).startswith(b"HTTP/1.1 200")


def test_its_loop_runs_what_it_is_given(tmp_path):
    async def name() -> str:
        return threading.current_thread().name

    with served(tmp_path / "s") as server:
        assert server.run(name()).result(20) == "test"


def test_after_hanging_up_calls_under_way_and_new_ones_get_no_byte(tmp_path):
    arrived, go_on = threading.Event(), threading.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        arrived.set()
        await asyncio.to_thread(go_on.wait, 20)
        await hello(scope, receive, send)

    with served(tmp_path / "s", slow) as server, connected(tmp_path / "s", ASK) as connection:
        assert arrived.wait(20)
        server.hang_up()
        assert rest(connection) == b""
        go_on.set()
        with contextlib.suppress(OSError), connected(tmp_path / "s", ASK) as later:
            assert rest(later) == b""


def test_closing_lets_a_call_under_way_end(tmp_path):
    arrived, go_on = threading.Event(), threading.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        arrived.set()
        await asyncio.to_thread(go_on.wait, 20)
        await hello(scope, receive, send)

    server = UnixServer(slow, tmp_path / "s", "test")
    with connected(tmp_path / "s", ASK) as connection:
        assert arrived.wait(20)
        closing = threading.Thread(target=server.close)
        closing.start()
        go_on.set()
        assert b"hello" in rest(connection)
        closing.join(20)
        assert not closing.is_alive()


@pytest.mark.parametrize("begun", [b"", b"GET / HT", ASK + b"GET / HT"], ids=["nothing", "a-piece", "a-second-request"])
def test_who_does_not_finish_its_headers_is_sent_away(tmp_path, monkeypatch, begun):
    monkeypatch.setattr(serving, "_HEADERS_S", 0.2)
    with served(tmp_path / "s"), connected(tmp_path / "s", begun) as connection:
        answer = rest(connection)
        assert answer.count(b"HTTP/1.1 200") == begun.count(ASK)


def test_a_connection_may_rest_between_requests(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "_HEADERS_S", 0.1)
    with served(tmp_path / "s") as server, connected(tmp_path / "s", ASK) as connection:
        answer_of(connection)
        server.run(asyncio.sleep(0.3)).result(20)
        connection.sendall(ASK)
        assert answer_of(connection).startswith(b"HTTP/1.1 200")


def test_an_answer_waits_for_a_slow_reader_only_so_long(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "_STALLED_S", 0.2)
    ended = threading.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
        finally:
            ended.set()

    errors: list[DojoError] = []
    netted = Net(endless, lambda scope, exc: hello, errors.append)
    with served(tmp_path / "s", netted), connected(tmp_path / "s", ASK):
        assert ended.wait(20)
    assert not errors


def test_beyond_so_many_connections_one_is_told_to_come_again(tmp_path):
    with served(tmp_path / "s", connections=2), contextlib.ExitStack() as held:
        for _ in range(2):
            connection = held.enter_context(connected(tmp_path / "s", ASK))
            assert answer_of(connection).startswith(b"HTTP/1.1 200")
        with connected(tmp_path / "s") as third:
            answer = rest(third)
    assert answer.startswith(b"HTTP/1.1 503") and b"Retry-After" in answer


def test_very_many_headers_are_refused(tmp_path):
    with (
        served(tmp_path / "s"),
        connected(tmp_path / "s", b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 300 + b"\r\n") as connection,
    ):
        assert rest(connection).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("fault", [KeyError("x"), OSError(28, "full"), TimeoutError(), RecursionError()], ids=repr)
def test_whatever_the_application_raises_is_an_answer_and_an_event(tmp_path, fault):
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise fault

    errors: list[DojoError] = []
    netted = Net(broken, lambda scope, exc: PlainTextResponse(type(exc).__name__, 500), errors.append)
    with served(tmp_path / "s", netted), connected(tmp_path / "s", ASK) as connection:
        answer = answer_of(connection)
        assert answer.startswith(b"HTTP/1.1 500") and type(fault).__name__.encode() in answer
    assert [error.code for error in errors] == ["internal"]


def test_a_client_that_left_is_no_fault(tmp_path):
    arrived = threading.Event()

    async def gone(scope: Any, receive: Any, send: Any) -> None:
        arrived.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        await hello(scope, receive, send)

    errors: list[DojoError] = []
    with served(tmp_path / "s", Net(gone, lambda scope, exc: hello, errors.append)), connected(tmp_path / "s", ASK):
        assert arrived.wait(20)
    assert not errors


def test_serving_leaves_the_root_logger_alone_and_nothing_is_logged(tmp_path, caplog):
    before = (logging.root.level, list(logging.root.handlers))
    with served(tmp_path / "s"), connected(tmp_path / "s", b"nonsense\r\n\r\n") as connection:
        assert rest(connection).startswith(b"HTTP/1.1 400")
    assert (logging.root.level, list(logging.root.handlers)) == before
    assert not caplog.records


@pytest.mark.parametrize("command", ["--help", "status", "runs", "leaderboard", "agents list", "backbones list", "version"])
def test_a_command_that_serves_nothing_imports_no_server(tmp_path, command):
    code = (
        "import sys\nfrom harness.cli.main import main\nmain(sys.argv[1:])\n"
        "print([m for m in ('uvicorn', 'starlette', 'h11', 'httpx') if m in sys.modules])"
    )
    argv = [sys.executable, "-c", code, *command.split()]
    environment = {**os.environ, "DOJO_HOME": str(tmp_path)}
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == "[]"


# Counts the bytes of memory that 10,000 connections which send next to nothing cost a server in a process of its own.
SLOW = """
import sys
from pathlib import Path
from harness.serving.server import UnixServer
from tests.unit.serving.test_server import hello
server = UnixServer(hello, Path(sys.argv[1]), "slow")
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
print("up", flush=True)
sys.stdin.read()
print(peak() - before)
"""


def test_ten_thousand_slow_connections_cost_next_to_nothing(tmp_path):
    path = str(tmp_path / "s")
    with subprocess.Popen([sys.executable, "-c", SLOW, path], stdin=-1, stdout=-1, text=True) as child:
        assert child.stdout and child.stdin and child.stdout.readline() == "up\n"
        held: list[socket.socket] = []
        refused = 0
        for number in range(10_000):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(20)
            connection.connect(path)
            with contextlib.suppress(OSError):
                connection.sendall(b"GET / HTTP/1.1\r\nX: ")
            if number < 128:
                held.append(connection)
                continue
            refused += rest(connection).startswith(b"HTTP/1.1 503")
            connection.close()
        for connection in held:
            connection.close()
        child.stdin.close()
        assert refused > 9_000
        assert int(child.stdout.read()) < 16 * 1024


def test_a_spool_keeps_little_in_memory_and_leaves_nothing(tmp_path):
    with Spool(tmp_path, kept=10) as spool:
        spool.write(b"12345")
        spool.write(b"678901")
        spool.rewind()
        assert spool.read() == b"12345678901" and spool.size == 11
        assert not list(tmp_path.iterdir())
        spool.clear()
        spool.write(b"new")
        spool.rewind()
        assert (spool.read(), spool.size) == (b"new", 3)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_spool_whose_disk_is_full_says_so(tmp_path, monkeypatch):
    with Spool(tmp_path, kept=0) as spool:
        spool._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
        spool._file.rollover = lambda: None
        with pytest.raises(StoreError, match="No space left"):
            spool.write(b"x")
