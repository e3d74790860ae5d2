"""Many calls at once, in all wire formats, against a budget that has room for a few: not one token over."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from harness.gateway.ledger import Ledger
from harness.spec.event import LlmCalled, LlmRefused, LlmReserved
from tests.unit.gateway.conftest import TOKEN, Open, Opening, chat_reply, chat_stream

CALLS, CAP = 64, 500
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"max_tokens": CAP, "stream": True, "messages": [{"role": "user", "content": "hi"}]}),
    "responses": ("/v1/responses", {"max_output_tokens": CAP, "stream": True, "input": "hi"}),
    "messages": ("/v1/messages", {"max_tokens": CAP, "stream": True, "messages": [{"role": "user", "content": "hi"}]}),
    "google": (
        "/v1beta/models/m:streamGenerateContent?alt=sse",
        {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": {"maxOutputTokens": CAP}},
    ),
}


async def all_at_once(open: Open) -> list[tuple[str, httpx.Response]]:
    transport = httpx.AsyncHTTPTransport(uds=str(open.socket), limits=httpx.Limits(max_connections=CALLS))
    async with httpx.AsyncClient(transport=transport, base_url="http://g", timeout=60) as client:

        async def one(number: int) -> tuple[str, httpx.Response]:
            name = list(BODIES)[number % len(BODIES)]
            path, body = BODIES[name]
            model = {} if name == "google" else {"model": "m"}
            return name, await client.post(path, json=body | model, headers={"x-api-key": TOKEN})

        return await asyncio.gather(*(one(number) for number in range(CALLS)))


def never_over(open: Open, budget: int) -> Ledger:
    ledger = Ledger()
    for event in open.book.events:
        if isinstance(event, LlmReserved | LlmCalled | LlmRefused):
            ledger = ledger.after(event)
            assert ledger.spent_tokens <= budget
    assert ledger == open.server.ledger
    return ledger


@pytest.mark.parametrize("reported", [None, CAP])
def test_64_streams_of_all_formats_overspend_by_nothing(gateway: Opening, reported: int | None) -> None:
    budget = 10_000
    open = gateway(budget={"tokens": budget}, backbone={"concurrency": CALLS})
    everybody = asyncio.Event()

    async def answer(call: Any) -> list[bytes]:
        # at first nobody is answered before all that fit are here
        if len(open.upstream.calls) >= 5:
            everybody.set()
        await everybody.wait()
        return chat_stream(prompt=None if reported is None else 40, output=reported)

    open.upstream.answer = answer
    answers = asyncio.run(all_at_once(open))
    open.server.wait_settled()
    ledger = never_over(open, budget)
    served = [answer for _, answer in answers if answer.status_code == 200]
    assert len(served) == len(open.upstream.calls) == ledger.calls and 5 <= len(served) < CALLS
    assert not ledger.open and ledger.refused == CALLS - len(served)
    shapes = {}
    for name, answer in answers:
        if answer.status_code != 200:
            shapes[name] = (answer.status_code, answer.headers.get("x-should-retry"))
            assert "budget_exceeded" in answer.text
    assert shapes == {name: (400 if name == "messages" else 429, "false") for name in BODIES}
    assert not open.errors


def test_the_last_call_is_capped_to_what_is_left(gateway: Opening) -> None:
    open = gateway(budget={"output_tokens": 30})
    open.upstream.answer = lambda call: chat_reply(output=call.body["max_tokens"])
    assert open.chat(max_tokens=20).status_code == 200
    assert open.chat(max_tokens=20).status_code == 200
    assert open.chat(max_tokens=20).json()["error"]["code"] == "budget_exceeded"
    assert [call.body["max_tokens"] for call in open.upstream.calls] == [20, 10]
    assert open.server.ledger.output_tokens == 30


def test_a_cap_is_written_where_the_agent_says_none(gateway: Opening) -> None:
    open = gateway(budget={"output_tokens": 30}, backbone={"max_output": 12})
    open.chat()
    assert open.upstream.calls[0].body["max_completion_tokens"] == 12


def test_nothing_is_capped_where_nothing_is_limited(gateway: Opening) -> None:
    open = gateway()
    open.chat()
    assert "max_completion_tokens" not in open.upstream.calls[0].body


def test_several_answers_to_one_call_share_the_cap(gateway: Opening) -> None:
    open = gateway(budget={"output_tokens": 31})
    open.chat(max_tokens=20, n=3)
    assert open.upstream.calls[0].body["max_tokens"] == 10


def test_what_the_upstream_does_not_report_is_charged_as_reserved(gateway: Opening) -> None:
    open = gateway(budget={"tokens": 5000})
    open.upstream.answer = lambda call: chat_reply(prompt=None)
    open.chat(max_tokens=20)
    (called,) = open.book.of(LlmCalled)
    (reserved,) = open.book.of(LlmReserved)
    assert called.input_tokens is None and called.output_tokens is None
    assert called.tokens == reserved.tokens and called.charged_output == 20


def test_what_the_upstream_reports_beyond_the_reservation_is_charged_and_told(gateway: Opening) -> None:
    open = gateway(budget={"tokens": 5000})
    open.upstream.answer = lambda call: chat_reply(prompt=4000, output=900)
    open.chat(max_tokens=20)
    (called,) = open.book.of(LlmCalled)
    assert called.tokens == 4900 and called.model_extra["beyond_reservation"] > 0
    assert open.chat().json()["error"]["code"] == "budget_exceeded"


def test_dollars_are_reserved_and_charged_at_the_backbones_prices(gateway: Opening) -> None:
    prices = {"input": 1.0, "output": 10.0, "cached": 0.1}
    open = gateway(budget={"dollars": 0.02}, backbone={"prices": prices})
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 40}}
    open.upstream.answer = lambda call: json.dumps(json.loads(chat_reply()) | {"usage": usage}).encode()
    open.chat(max_tokens=10_000)
    (called,) = open.book.of(LlmCalled)
    (reserved,) = open.book.of(LlmReserved)
    assert called.dollars == pytest.approx((60 * 1.0 + 40 * 0.1 + 50 * 10) / 1e6)
    assert reserved.dollars <= 0.02 and open.upstream.calls[0].body["max_tokens"] < 2000


def test_a_call_that_waits_for_room_goes_on_when_others_are_settled(gateway: Opening) -> None:
    open = gateway(budget={"output_tokens": 30})
    goes_on = asyncio.Event()

    async def answer(call: Any) -> bytes:
        if call.number == 1:
            await goes_on.wait()
        return chat_reply(output=3)

    open.upstream.answer = answer

    async def both() -> list[httpx.Response]:
        transport = httpx.AsyncHTTPTransport(uds=str(open.socket))
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://g", headers=headers, timeout=60) as client:
            body = {"model": "m", "max_tokens": 30, "messages": [{"role": "user", "content": "hi"}]}
            first = asyncio.create_task(client.post("/v1/chat/completions", json=body))
            await asyncio.to_thread(open.book.wait, LlmReserved)
            second = asyncio.create_task(client.post("/v1/chat/completions", json=body))
            open.server._server.run(_set(goes_on))
            return [await first, await second]

    assert [answer.status_code for answer in asyncio.run(both())] == [200, 200]
    assert [call.body["max_tokens"] for call in open.upstream.calls] == [30, 27]


async def _set(event: asyncio.Event) -> None:
    event.set()
