"""Clients that hang up, read slowly or wait long; gateways that close."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from harness.gateway.server import Pace
from harness.spec.event import LlmCalled, LlmReserved
from tests.unit.gateway.conftest import Opening, chat_stream

BODY = {"model": "m", "max_tokens": 50, "stream": True, "messages": [{"role": "user", "content": "hi"}]}


async def stalled(first: bytes = chat_stream()[0]) -> AsyncIterator[bytes]:
    yield first
    await asyncio.Event().wait()


def test_a_client_that_leaves_cancels_the_upstream_and_its_call_is_settled(gateway: Opening) -> None:
    open = gateway(budget={"tokens": 5000})

    async def body() -> AsyncIterator[bytes]:
        try:
            async for piece in stalled():
                yield piece
        finally:
            open.upstream.cancelled.set()

    open.upstream.answer = lambda call: body()
    with open.client() as client, client.stream("POST", "/v1/chat/completions", json=BODY) as stream:
        next(stream.iter_raw())
    (called,) = open.book.wait(LlmCalled)
    assert (called.status, called.error, called.output_tokens) == (499, "hung_up", None)
    assert called.tokens == open.book.of(LlmReserved)[0].tokens
    assert open.upstream.cancelled.wait(20) and not open.errors


def test_what_was_reported_before_a_client_left_is_what_it_pays(gateway: Opening) -> None:
    open = gateway(backbone={"upstream": "anthropic"})
    start = b'event: message_start\ndata: {"type":"message_start","message":{"id":"a","model":"m","usage":{"input_tokens":11,"output_tokens":1}}}\n\n'  # noqa: E501
    open.upstream.answer = lambda call: stalled(start)
    with open.client() as client, client.stream("POST", "/v1/messages", json=BODY) as stream:
        next(stream.iter_raw())
    (called,) = open.book.wait(LlmCalled)
    assert (called.status, called.input_tokens) == (499, 11)
    assert called.tokens >= 11


def test_a_client_that_leaves_before_anything_was_sent_pays_what_may_have_been_done(gateway: Opening) -> None:
    open = gateway()
    open.upstream.answer = lambda call: asyncio.Event().wait()
    with open.client() as client, pytest.raises(httpx.ReadTimeout):
        client.post("/v1/chat/completions", json=BODY, timeout=0.3)
    (called,) = open.book.wait(LlmCalled)
    assert called.status == 499 and called.tokens == open.book.of(LlmReserved)[0].tokens


def test_a_waiting_stream_is_kept_by_comments(gateway: Opening) -> None:
    open = gateway(pace=Pace(keep_alive_s=0.01))
    seen = threading.Event()

    async def late(call: Any) -> list[bytes]:
        await asyncio.to_thread(seen.wait, 20)
        return chat_stream()

    open.upstream.answer = late
    got = b""
    with open.client() as client, client.stream("POST", "/v1/chat/completions", json=BODY) as stream:
        for piece in stream.iter_raw():
            got += piece
            seen.set()
    assert got.startswith(b":") and got.endswith(b"data: [DONE]\n\n")


def test_a_failure_after_comments_is_told_within_the_stream(gateway: Opening) -> None:
    open = gateway(pace=Pace(keep_alive_s=0.01), backbone={"attempts": 1})
    seen = threading.Event()

    async def late(call: Any) -> list[bytes]:
        from tests.unit.gateway.conftest import failed

        await asyncio.to_thread(seen.wait, 20)
        raise failed("refused", 400, body=b'{"error": {"message": "too long"}}')

    open.upstream.answer = late
    with open.client() as client, client.stream("POST", "/v1/chat/completions", json=BODY) as stream:
        got = b""
        for piece in stream.iter_raw():
            got += piece
            seen.set()
    assert b"too long" in got
    (called,) = open.book.wait(LlmCalled)
    assert called.status == 200 and called.error and called.tokens == 0


def test_closing_ends_what_is_upstream_and_settles_it(gateway: Opening) -> None:
    open = gateway()
    open.upstream.answer = lambda call: stalled()
    with open.client() as client, client.stream("POST", "/v1/chat/completions", json=BODY) as stream:
        next(stream.iter_raw())
        open.server.close(0.1)
        (called,) = open.book.of(LlmCalled)
        assert called.status == 499 and not open.server.ledger.open and open.upstream.closed


def test_hanging_up_drops_without_an_answer(gateway: Opening) -> None:
    open = gateway()
    open.upstream.answer = lambda call: stalled()
    with open.client() as client, client.stream("POST", "/v1/chat/completions", json=BODY) as stream:
        lines = stream.iter_raw()
        next(lines)
        open.server.hang_up()
        with pytest.raises(httpx.HTTPError):
            next(lines)
    with pytest.raises(httpx.HTTPError):
        open.chat()
    open.book.wait(LlmCalled)


def test_an_answer_that_breaks_off_is_an_error_within_the_stream(gateway: Opening) -> None:
    from tests.unit.gateway.conftest import failed

    open = gateway()
    open.upstream.answer = lambda call: [chat_stream()[0], failed()]
    answer = open.chat(stream=True)
    assert answer.status_code == 200 and "broke off" in answer.text
    (called,) = open.book.wait(LlmCalled)
    assert called.error == "upstream_broken" and called.tokens == open.book.of(LlmReserved)[0].tokens


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fault", [ValueError("boom"), OSError(28, "boom"), PermissionError(13, "boom"), RecursionError("boom")], ids=repr
)
def test_what_nobody_foresaw_is_a_500_in_the_right_shape_and_an_event(gateway: Opening, stream: bool, fault: Exception) -> None:
    open = gateway()
    open.upstream.answer = lambda call: fault
    answer = open.post("/v1/messages", {**BODY, "stream": stream})
    assert answer.status_code == 500 and answer.json()["type"] == "error"
    assert answer.headers["x-should-retry"] == "false"  # the providers' own clients ask again else
    assert "boom" in open.errors[0].message and open.errors[0].code == "internal"
    assert open.book.wait(LlmCalled)[0].status == 500
    open.upstream.answer = lambda call: chat_stream()
    assert open.chat(stream=True).status_code == 200


def test_an_event_that_cannot_be_written_is_a_500_and_nothing_goes_up(gateway: Opening) -> None:
    from harness.spec.errors import StoreError

    open = gateway()
    emit = open.book.emit

    def full(payload: Any) -> None:
        raise StoreError("the disk is full", hint="free some")

    open.book.emit = full  # type: ignore[method-assign]
    again = gateway(book=open.book)
    assert again.chat().status_code == 500 and not again.upstream.calls
    assert again.errors[0].message == "the disk is full" and again.server.ledger.requests == 0
    open.book.emit = emit  # type: ignore[method-assign]
