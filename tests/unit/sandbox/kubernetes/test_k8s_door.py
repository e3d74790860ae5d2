"""The door of a pod, over real TLS: who may come in, where to, and what the ends of connections become."""

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.sandbox.base import Relay
from harness.sandbox.jail import door as inside
from harness.sandbox.jail.pod import closed
from harness.sandbox.kubernetes import link as outside
from harness.sandbox.kubernetes import relays
from harness.sandbox.kubernetes.identity import Credentials, new_credentials
from harness.sandbox.kubernetes.link import Link
from harness.sandbox.kubernetes.relays import RelayEnds


@dataclass
class Pod:
    folder: Path
    relay: Path
    credentials: Credentials

    def link(self, **changes: str) -> Link:
        kept = {"address": "127.0.0.1", "certificate": self.credentials.certificate, "token": self.credentials.token}
        return Link(**{**kept, **changes})


def shout(path: Path) -> socket.socket:
    """A server that answers with capitals when its client has ended sending."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    data = b""
                    while part := connection.recv(65536):
                        data += part
                        if data.endswith(b"\n"):
                            break
                    connection.sendall(data.upper())

    threading.Thread(target=serve, daemon=True).start()
    return listener


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pod]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for module in (inside, outside, relays):
        monkeypatch.setattr(module, "PORT", port)
    monkeypatch.setattr(inside, "is_own", lambda address: False)  # here both ends are one machine
    credentials = new_credentials("test")
    for name, text in (("cert.pem", credentials.certificate), ("key.pem", credentials.key), ("token", credentials.token)):
        (tmp_path / name).write_text(text)
    servers = [shout(tmp_path / name) for name in ("c", "x")]
    relay = socket.socket(socket.AF_UNIX)
    relay.bind(str(tmp_path / "relay"))
    relay.listen()
    door = inside.Door(str(tmp_path), str(tmp_path), [relay])
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await door.serve(os.getpid())

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    wait_for_port(port)
    yield Pod(tmp_path, tmp_path / "relay", credentials)
    loops[0].call_soon_threadsafe(door.end)
    thread.join(10)
    assert not thread.is_alive()
    for server in (*servers, relay):
        server.close()


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.01)
    raise AssertionError("the door does not open")


@pytest.mark.parametrize("to", ["control", "commands"])
def test_a_connection_is_passed_through_to_execd(pod: Pod, to: str) -> None:
    with pod.link().connect(to) as sock:
        sock.sendall(b"hello\n")
        assert sock.recv(100) == b"HELLO\n" and sock.recv(100) == b""


@pytest.mark.parametrize(
    "changes", [{"token": "0" * 64}, {"token": ""}, {"token": "é"}], ids=["another token", "no token", "a strange token"]
)
def test_who_has_another_token_gets_no_byte(pod: Pod, changes: dict[str, str]) -> None:
    with pod.link(**changes).connect("control") as sock, contextlib.suppress(OSError):
        sock.sendall(b"hello\n")
        assert sock.recv(100) == b""


def test_a_door_with_another_certificate_is_not_spoken_to(pod: Pod) -> None:
    with pytest.raises(OSError, match="certificate"):
        pod.link(certificate=new_credentials("test").certificate).connect("control")


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"{}\n", b"x" * 100_000, b'{"token": 1, "to": []}\n', b"\xff\n"])
def test_a_first_line_that_says_nothing_ends_that_connection_alone(
    pod: Pod, line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inside, "_HELLO_S", 2.0)  # so long it waits for a line's end
    link = pod.link()
    with link.context.wrap_socket(socket.create_connection(("127.0.0.1", outside.PORT))) as sock, contextlib.suppress(OSError):
        sock.sendall(line)
        assert sock.recv(10) == b""
    test_a_connection_is_passed_through_to_execd(pod, "control")


def test_who_is_inside_is_turned_away_before_a_byte_is_read(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(OSError):
        pod.link().connect("control").recv(1)


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.7", False),
        ("2001:db8::7", False),
    ],
)
def test_own_addresses_are_told_from_others(address: str, own: bool) -> None:
    assert inside.is_own(address) is own


def test_a_relay_leads_to_the_harness_and_both_directions_end_by_themselves(pod: Pod, tmp_path: Path) -> None:
    api = socket.socket(socket.AF_UNIX)
    api.bind(str(tmp_path / "api"))
    api.listen()
    ends = RelayEnds(pod.link(), [Relay(1, tmp_path / "api")])
    ends.start()
    try:
        for number in range(6):  # more than wait at a time
            with socket.socket(socket.AF_UNIX) as agent:
                agent.connect(str(pod.relay))
                agent.sendall(b"%d" % number * 300_000)
                agent.shutdown(socket.SHUT_WR)
                served, _ = api.accept()
                with served:
                    data = b""
                    while part := served.recv(65536):
                        data += part
                    served.sendall(data[:5])
                assert len(data) == 300_000
                assert b"".join(iter(lambda agent=agent: agent.recv(100), b"")) == b"%d" % number * 5  # type: ignore[misc]
    finally:
        ends.stop()
        api.close()


def test_ends_that_are_stopped_leave_no_connection_at_the_door(pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that stayed would be given to the next who connects inside, and nobody would answer."""
    monkeypatch.delattr(asyncio.StreamWriter, "__del__", raising=False)  # as before Python 3.11.5
    for name in ("first", "second"):
        served, ends = shout(tmp_path / name), RelayEnds(pod.link(), [Relay(1, tmp_path / name)])
        ends.start()
        try:
            for _ in range(5):  # one more than wait at a time
                said = b""
                while not said:  # one that is being closed just then says so; one that stayed would say nothing
                    with socket.socket(socket.AF_UNIX) as agent:
                        agent.settimeout(15)
                        agent.connect(str(pod.relay))
                        agent.sendall(name.encode() + b"\n")
                        said = agent.recv(100)
                assert said == name.upper().encode() + b"\n"
        finally:
            ends.stop()
            served.close()


def test_ends_that_are_stopped_while_they_connect_disturb_no_others(pod: Pod, tmp_path: Path) -> None:
    """A socket closed under asyncio gives its number to the next one, whose ends then all broke. A race, so it is run often."""
    api = tmp_path / "api"
    with shout(api):
        for number in range(60):
            stopped, ends = (RelayEnds(pod.link(), [Relay(1, api)]) for _ in range(2))
            stopped.start()
            time.sleep(number % 20 / 1600)
            stopped.stop()
            ends.start()
            try:
                said = b""
                while not said:  # one of those that were stopped, if it is not away yet
                    with socket.socket(socket.AF_UNIX) as agent:
                        agent.settimeout(15)
                        agent.connect(str(pod.relay))
                        agent.sendall(b"hello\n")
                        said = agent.recv(100)
                assert said == b"HELLO\n"
            finally:
                ends.stop()


def test_an_open_network_is_waited_for_and_found() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        far_end = ("127.0.0.1", server.getsockname()[1])
        assert not closed([far_end], time.monotonic() + 0.3), "somebody answers"
    assert closed([far_end], time.monotonic() + 5), "nobody does any more"


def test_answers_are_whole_though_their_sender_leaves_while_they_are_read(pod: Pod, tmp_path: Path) -> None:
    """The far end closes as soon as it has sent: what the door has of it by then is not lost. A race, so it is run often."""
    whole = b"x" * 9_000_000
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "harness"))
    listener.listen()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    said = b""
                    while part := connection.recv(65536):
                        said += part
                    connection.sendall(said)

    threading.Thread(target=serve, daemon=True).start()
    ends = RelayEnds(pod.link(), (Relay(1, tmp_path / "harness"),))
    ends.start()
    sizes = []
    for _ in range(40):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(pod.relay))
            client.settimeout(20)
            client.sendall(whole)
            client.shutdown(socket.SHUT_WR)
            sizes.append(sum(len(part) for part in iter(lambda: client.recv(30_000), b"")))
    ends.stop()
    listener.close()
    assert set(sizes) == {len(whole)}
