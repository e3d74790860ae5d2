import socket
import struct
import threading

import pytest

from harness.sandbox.execd.wire import MAX_HEAD, Wire, WireClosed


@pytest.fixture
def pair() -> tuple[Wire, Wire]:
    one, two = socket.socketpair()
    return Wire(one), Wire(two)


@pytest.mark.parametrize("size", [0, 1, 300_000, 3_000_000])
def test_a_frame_arrives_as_it_was_sent(pair: tuple[Wire, Wire], size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    sender = threading.Thread(target=pair[0].send, args=({"op": "x", "text": "ä\n"}, body[:size], b"tail"))
    sender.start()
    assert pair[1].receive() == ({"op": "x", "text": "ä\n"}, body[:size] + b"tail")
    sender.join()


def test_frames_follow_each_other(pair: tuple[Wire, Wire]) -> None:
    for number in range(3):
        pair[0].send({"number": number}, b"x" * number)
    assert [pair[1].receive() for _ in range(3)] == [({"number": n}, b"x" * n) for n in range(3)]


def test_a_body_may_be_skipped(pair: tuple[Wire, Wire]) -> None:
    pair[0].send({}, b"x" * 1000)
    pair[0].send({"next": True})
    _, size = pair[1].receive_head()
    pair[1].skip(size)
    assert pair[1].receive() == ({"next": True}, b"")


def test_a_closed_end_is_said(pair: tuple[Wire, Wire]) -> None:
    pair[0].close()
    with pytest.raises(WireClosed):
        pair[1].receive()
    with pytest.raises(WireClosed):
        for _ in range(2):
            pair[1].send({"to": "nobody"})


@pytest.mark.parametrize(
    "raw", [struct.pack("!IQ", MAX_HEAD + 1, 0), struct.pack("!IQ", 2, 0) + b"[]", struct.pack("!IQ", 2, 0) + b"{{"]
)
def test_what_is_no_frame_is_refused(pair: tuple[Wire, Wire], raw: bytes) -> None:
    pair[0].sock.sendall(raw)
    with pytest.raises(ValueError):
        pair[1].receive()
