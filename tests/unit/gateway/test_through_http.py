"""The gateway before a real HTTP server: what real connections do to it."""

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from harness.gateway.server import Pace
from harness.gateway.upstreams.http import HttpUpstream
from harness.spec.backbone import Backbone
from harness.spec.event import LlmCalled, LlmOutage
from tests.unit.gateway.conftest import KEY, Open, Opening, chat_reply, chat_stream


class Provider:
    """Answers with what `plan` holds next: a status, or "ok", "cut" (a stream that breaks off), "stall" (one that never ends)."""

    def __init__(self) -> None:
        self.plan: list[Any] = []
        self.asked: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.left = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        data = b""
        while (message := await receive()).get("more_body") or message.get("body"):
            data += message.get("body", b"")
            if not message.get("more_body"):
                break
        body = json.loads(data)
        self.asked.append(({name.decode(): value.decode() for name, value in scope["headers"]}, body))
        step = self.plan.pop(0) if self.plan else "ok"
        status = step if isinstance(step, int) else 200
        headers = [(b"content-type", b"application/json"), *([(b"retry-after", b"2")] if status == 429 else [])]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if status != 200:
            await send({"type": "http.response.body", "body": json.dumps({"error": {"message": f"no, {KEY}"}}).encode()})
            return
        pieces = chat_stream() if body.get("stream") else [chat_reply()]
        for piece in pieces[:1] if step in ("cut", "stall") else pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if step == "cut":
            raise RuntimeError("cut")
        if step == "stall":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.set()
            return
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def provider() -> Iterator[tuple[Provider, int]]:
    app = Provider()
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None, log_level="critical")
    server = uvicorn.Server(config)
    listening = config.bind_socket()
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    yield app, listening.getsockname()[1]
    server.should_exit = server.force_exit = True
    thread.join(20)


@pytest.fixture
def open(gateway: Opening, provider: tuple[Provider, int]) -> Open:
    settings = {"upstream": "openai", "model": "m", "base_url": f"http://127.0.0.1:{provider[1]}/v1", "attempts": 3}

    async def no_sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    pace = Pace(sleep=no_sleep, jitter=lambda: 0.0)
    return gateway(backbone=settings, upstream=HttpUpstream(Backbone(**settings), KEY), pace=pace)  # type: ignore[arg-type]


def test_a_call_and_a_stream(open: Open, provider: tuple[Provider, int]) -> None:
    assert open.chat().content == chat_reply()
    assert open.chat(stream=True).text.endswith("data: [DONE]\n\n")
    headers, body = provider[0].asked[0]
    assert headers["authorization"] == f"Bearer {KEY}" and body["messages"] == [{"role": "user", "content": "hi"}]
    assert [called.tokens for called in open.book.of(LlmCalled)] == [10, 10]


def test_busy_and_broken_answers_are_tried_again(open: Open, provider: tuple[Provider, int]) -> None:
    provider[0].plan = [429, 503]
    assert open.chat().status_code == 200
    (called,) = open.book.of(LlmCalled)
    assert called.tries == 3 and not open.book.of(LlmOutage)


def test_what_the_provider_refuses_is_told_without_its_echo_of_the_key(open: Open, provider: tuple[Provider, int]) -> None:
    provider[0].plan = [400]
    answer = open.chat()
    assert answer.status_code == 400 and "no, [redacted]" in answer.text
    assert open.book.of(LlmCalled)[0].tokens == 0


def test_a_key_that_the_provider_does_not_take_is_no_fault_of_the_agent(open: Open, provider: tuple[Provider, int]) -> None:
    provider[0].plan = [401, "the probe", 401, 401]
    answer = open.chat()
    assert answer.status_code == 502 and answer.json()["error"]["code"] == "upstream_unauthorised"


def test_a_stream_that_breaks_off_is_told_in_the_stream(open: Open, provider: tuple[Provider, int]) -> None:
    provider[0].plan = ["cut"]
    answer = open.chat(stream=True)
    assert "hel" in answer.text and "broke off" in answer.text
    assert open.book.of(LlmCalled)[0].error == "upstream_broken"


def test_a_client_that_leaves_makes_the_provider_stop(open: Open, provider: tuple[Provider, int]) -> None:
    provider[0].plan = ["stall"]
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with open.client() as client, client.stream("POST", "/v1/chat/completions", json=body) as stream:
        next(stream.iter_raw())
    assert provider[0].left.wait(20)
    open.server.wait_settled()
    assert open.book.of(LlmCalled)[0].status == 499


def test_nobody_at_the_address_is_an_outage_that_costs_nothing(gateway: Opening, tmp_path: Any) -> None:
    settings = {"upstream": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1", "attempts": 1}
    slept = threading.Event()
    now = [0.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds
        slept.set()
        await asyncio.sleep(0)

    pace = Pace(clock=lambda: now[0], sleep=sleep, jitter=lambda: 0.0)
    open = gateway(backbone=settings, upstream=HttpUpstream(Backbone(**settings), KEY), pace=pace)  # type: ignore[arg-type]
    with open.client() as client, pytest.raises(httpx.ReadTimeout):
        client.post("/v1/chat/completions", json={"model": "m", "messages": [{"role": "user", "content": "hi"}]}, timeout=1)
    open.server.close()
    assert slept.is_set() and open.book.of(LlmOutage)
