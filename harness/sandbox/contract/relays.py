"""Promises about relays: the only way out of a sandbox."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.sandbox.base import Relay, Sandbox
from harness.sandbox.contract.promise import PATIENCE_S, Stage, expect, promise, python

_CLIENT = """
import socket, sys
s = socket.create_connection(("127.0.0.1", {port}), timeout={patience})
s.sendall({data})
s.shutdown(socket.SHUT_WR)
answer = b""
while part := s.recv(65536):
    answer += part
sys.stdout.buffer.write({result})
"""


@contextlib.contextmanager
def _shouting_server(path: Path) -> Iterator[None]:
    """Answer each connection, once its sender has ended, with what it sent in capitals."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o666)
    listener.listen(128)

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            data = b""
            while part := connection.recv(65536):
                data += part
            connection.sendall(data.upper())

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        path.unlink()


def _ask(sandbox: Sandbox, port: int, data: str = 'b"hello"', result: str = "answer") -> bytes:
    done = python(sandbox, _CLIENT.format(port=port, patience=PATIENCE_S, data=data, result=result))
    expect(done.ok, done)
    return done.stdout


def _port(stage: Stage) -> int:
    """Return a port of this stage's own, for backends whose sandboxes share the host's loopback."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@promise("relays")
def a_relay_leads_to_the_harness(stage: Stage) -> None:
    """Both ways, and the end of sending is passed on."""
    path, port = stage.host_folder() / "api.sock", _port(stage)
    with _shouting_server(path), stage.new(relays=[Relay(port, path)]) as sandbox:
        expect(_ask(sandbox, port) == b"HELLO", "the answer")


@promise("relays")
def megabytes_go_through_a_relay(stage: Stage) -> None:
    """Unharmed, with both ends slower than the sender."""
    path, port = stage.host_folder() / "api.sock", _port(stage)
    with _shouting_server(path), stage.new(relays=[Relay(port, path)]) as sandbox:
        answer = _ask(sandbox, port, 'b"abc" * 3_000_000', 'b"%d %d" % (len(answer), answer == b"ABC" * 3_000_000)')
        expect(answer == b"9000000 1", answer)


@promise("relays")
def a_relay_waits_for_its_socket(stage: Stage) -> None:
    """A connection made while the harness is away is answered when it comes back; so is one after a restart."""
    path, port = stage.host_folder() / "api.sock", _port(stage)
    with stage.new(relays=[Relay(port, path)]) as sandbox, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_ask, sandbox, port)
        running = sandbox.start(["sh", "-c", "true"])  # some time in which it would have been refused
        sandbox.poll(running, wait_s=2.0)
        with _shouting_server(path):
            expect(waiting.result(PATIENCE_S) == b"HELLO", "the waiting one")
        with _shouting_server(path):
            expect(_ask(sandbox, port) == b"HELLO", "after the restart")


@promise("relays")
def many_connections_use_a_relay_at_once(stage: Stage) -> None:
    """A hundred open together."""
    path, port = stage.host_folder() / "api.sock", _port(stage)
    program = f"""
import socket
open_ones = [socket.create_connection(("127.0.0.1", {port}), timeout={PATIENCE_S}) for _ in range(100)]
for number, s in enumerate(open_ones):
    s.sendall(b"n%d" % number)
    s.shutdown(socket.SHUT_WR)
print(all(s.recv(100) == b"N%d" % number for number, s in enumerate(open_ones)))
"""
    with _shouting_server(path), stage.new(relays=[Relay(port, path)]) as sandbox:
        done = python(sandbox, program)
        expect(done.stdout == b"True\n", done)
