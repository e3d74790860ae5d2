"""A run's gateway over its real socket: what goes up, what comes back, what is in the book."""

import json

from harness.gateway.recording import Recording
from harness.spec.event import LlmCalled, LlmRefused, LlmReserved
from tests.unit.gateway.conftest import Opening, chat_reply


def test_a_call_goes_up_unchanged_but_for_model_and_cap_and_its_bytes_come_back(gateway: Opening) -> None:
    open = gateway(budget={"tokens": 10_000})
    answer = open.chat("hi", temperature=0.5, logprobs=True, metadata={"who": "me"}, user="me", max_tokens=50)
    assert (answer.status_code, answer.content) == (200, chat_reply())
    (call,) = open.upstream.calls
    assert call.body == {
        "model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5, "logprobs": True, "max_tokens": 50,
    }  # fmt: skip
    (reserved,) = open.book.of(LlmReserved)
    (called,) = open.book.of(LlmCalled)
    assert reserved.output_tokens == 50 and reserved.tokens > 50
    assert (called.tokens, called.charged_output, called.status, called.served, called.tries) == (10, 3, 200, "m-1", 1)
    assert called.request == reserved.request == call.request
    assert open.server.ledger == open.book.ledger
    assert not open.errors


def test_a_stream_comes_back_as_it_came_without_the_usage_nobody_asked_for(gateway: Opening) -> None:
    open = gateway()
    answer = open.chat(stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert open.upstream.calls[0].body["stream_options"] == {"include_usage": True}
    events = [line for line in answer.text.split("\n\n") if line]
    assert events[-1] == "data: [DONE]" and '"usage"' not in answer.text
    (called,) = open.book.wait(LlmCalled)
    assert (called.streamed, called.tokens, called.stop) == (True, 10, "end") and called.first_s is not None


def test_another_format_is_translated_both_ways(gateway: Opening) -> None:
    open = gateway()
    body = {"model": "brain", "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}
    with open.client(headers={"x-api-key": "token-of-this-run", "anthropic-version": "2023-06-01"}) as client:
        whole = client.post("/v1/messages", json=body).json()
        stream = client.post("/v1/messages", json=body | {"stream": True}).text
    assert whole["content"] == [{"type": "text", "text": "hello"}] and whole["usage"]["output_tokens"] == 3
    assert "message_stop" in stream and '"text":"hel"' in stream.replace(" ", "")
    assert [call.format for call in open.upstream.calls] == ["chat", "chat"]
    assert [called.upstream_format for called in open.book.wait(LlmCalled, 2)] == ["chat", "chat"]


def test_what_an_agent_got_is_recorded(gateway: Opening) -> None:
    open = gateway()
    first = open.chat("once upon a time " * 20)
    second = open.chat("once upon a time " * 20, stream=True)
    open.server.close()
    exchanges = list(Recording(open.recording).read())
    assert [each.answer for each in exchanges] == [first.content, second.content]
    assert exchanges[0].body["messages"][0]["content"] == "once upon a time " * 20
    assert exchanges[0].reply is not None and exchanges[0].reply.usage.input == 7
    assert exchanges[1].reply is not None and exchanges[1].reply.usage.output == 3
    assert (open.recording / "parts.jsonl").read_text().count("once upon a time once") > 0
    assert len((open.recording / "parts.jsonl").read_text().splitlines()) == 1
    assert {path.stat().st_mode & 0o777 for path in open.recording.iterdir()} == {0o600}


def test_a_model_that_is_not_allowed_is_refused_with_those_that_are(gateway: Opening) -> None:
    open = gateway(backbone={"models": ["gpt-5"]})
    answer = open.post("/v1/chat/completions", {"model": "gpt-4", "messages": []})
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "model_not_found"
    assert "m, brain, gpt-5" in answer.json()["error"]["message"]
    assert open.book.wait(LlmRefused)[0].asked == "gpt-4"
    assert not open.book.of(LlmReserved)


def test_models_are_listed_in_the_shape_of_who_asks(gateway: Opening) -> None:
    open = gateway()
    with open.client() as client:
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["m", "brain"]
        listed = client.get("/v1/models", headers={"anthropic-version": "2023-06-01"}).json()
        assert listed["first_id"] == "m"
        assert client.get("/v1/models/brain").json()["id"] == "brain"
        assert client.get("/v1/models/other").status_code == 404


def test_a_prompt_is_counted_without_a_call(gateway: Opening) -> None:
    open = gateway()
    body = {"model": "m", "messages": [{"role": "user", "content": "word " * 100}]}
    counted = open.post("/v1/messages/count_tokens", body).json()["input_tokens"]
    assert 50 < counted < 500 and not open.upstream.calls


def test_a_spent_budget_refuses_in_the_shape_of_the_provider(gateway: Opening) -> None:
    open = gateway(budget={"requests": 1})
    assert open.chat().status_code == 200
    chat = open.chat()
    assert (chat.status_code, chat.json()["error"]["code"]) == (429, "budget_exceeded")
    assert chat.json()["error"]["type"] == "insufficient_quota" and chat.headers["x-should-retry"] == "false"
    body = {"model": "m", "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}
    messages = open.post("/v1/messages", body)
    assert messages.status_code == 400 and "budget_exceeded" in messages.text
    assert len(open.upstream.calls) == 1
    assert json.loads(messages.content)["type"] == "error"
