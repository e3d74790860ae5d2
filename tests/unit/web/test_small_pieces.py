"""An answer's head and body are two small pieces: neither may wait for the other's acknowledgement (40 ms)."""

import socket

import pytest

pytest.importorskip("fastapi", reason="pip install 'dojo-bench[service]'")

from harness.sandbox.execd.relay import listen
from harness.sandbox.execd.settings import RelaySettings
from harness.serving import tcp


def test_asyncio_is_told_that_the_service_speaks_tcp() -> None:
    with (
        tcp.listen("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as taken,
    ):
        assert taken.proto == socket.IPPROTO_TCP, "without it asyncio leaves the sending of small pieces to Nagle's algorithm"


def test_a_relay_sends_small_pieces_at_once() -> None:
    ((listening, _),) = listen((RelaySettings(0, -1, "api"),))
    with listening, socket.create_connection(listening.getsockname()), listening.accept()[0] as taken:
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
