"""The providers' own clients, in a sandbox without network, find all they expect at the gateway."""

import json

import pytest

from harness.spec.budget import Budget
from tests.gateway.conftest import Place

pytestmark = pytest.mark.e2e

CLIENTS = ("chat", "responses", "messages", "google")
PIECES = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_asks_streams_calls_tools_and_lists_models(client: str, before_a_script: Place) -> None:
    stranger = before_a_script.visit(client, "plain", "stream", "tools", "models", "again")
    told = stranger.told
    assert told["plain"] == ["hello, stranger", 12, 4]
    pieces, output = told["stream"]
    assert len(pieces) > 2 and "".join(pieces) == PIECES and output == 15
    assert told["tools"] == ["weather", {"city": "Paris"}, "Paris has 18 degrees."]
    assert set(told["models"]) >= {"mind-1", "brain"}
    assert told["again"][0] == "the second try answers"
    assert [(called.format, called.status) for called in stranger.called] == [(client, 200)] * 5
    assert [called.tries for called in stranger.called] == [1, 1, 1, 1, 2]
    assert stranger.ledger.requests == 5 and not stranger.errors
    booked = [(called.input_tokens, called.output_tokens) for called in stranger.called[:2]]
    assert booked == [(told["plain"][1], told["plain"][2]), (21, output)]
    assert stranger.ledger.tokens == sum(called.tokens for called in stranger.called)
    assert told["addresses"] == ["127.0.0.1"]


@pytest.mark.parametrize("client", CLIENTS)
def test_errors_are_the_clients_own(client: str, before_a_script: Place) -> None:
    stranger = before_a_script.visit(client, "refused", "model", "search", "stranger")
    refused, model, search, unknown = (stranger.told[deed] for deed in ("refused", "model", "search", "stranger"))
    assert (refused["status"], model["status"], unknown["status"]) == (400, 404, 401)
    assert "more tokens than the model takes in" in refused["message"]
    assert "some-other-model" in model["message"] and "mind-1" in model["message"]
    names = ("ClientError",) * 3 if client == "google" else ("BadRequestError", "NotFoundError", "AuthenticationError")
    assert (refused["class"], model["class"], unknown["class"]) == names
    assert search["status"] == 403 and "web search" in search["message"] and "not granted" in search["message"]
    assert search["class"] == ("ClientError" if client == "google" else "PermissionDeniedError")
    assert before_a_script.token not in json.dumps(stranger.told) and not stranger.errors


@pytest.mark.parametrize("client", CLIENTS)
def test_a_spent_budget_is_an_error_that_says_so(client: str, before_a_script: Place) -> None:
    stranger = before_a_script.visit(client, "plain", "stream", "patient", budget=Budget(wall=3600, requests=1))
    assert stranger.told["plain"][0] == "hello, stranger"
    spent = stranger.told["stream"]
    assert spent["status"] in (400, 402, 403, 429) and "budget" in spent["message"]
    assert stranger.ledger.requests == 1
    assert stranger.told["patient"]["status"] == spent["status"]
    # one for the stream, one for a client with its own retries: none of them asks twice
    assert [refused.error for refused in stranger.refused] == ["budget_exceeded"] * 2


@pytest.mark.parametrize("client", ["messages", "google"])
def test_a_client_may_count_tokens_and_pays_nothing(client: str, before_a_script: Place) -> None:
    stranger = before_a_script.visit(client, "count")
    assert 3 < stranger.told["count"] < 1000 and stranger.ledger.requests == 0


@pytest.mark.slow
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_asks_and_streams_from_vllm(client: str, before_vllm: Place) -> None:
    stranger = before_vllm.visit(client, "plain", "stream", "models", "model", timeout_s=900)
    text, prompt, output = stranger.told["plain"]
    assert text and prompt > 5 and 0 < output <= 16
    pieces, streamed = stranger.told["stream"]
    assert len(pieces) > 2 and 0 < streamed <= 16
    assert "smol" in stranger.told["models"] and stranger.told["model"]["status"] == 404
    upstream = "chat" if client == "google" else client
    assert [(called.format, called.upstream_format) for called in stranger.called] == [(client, upstream)] * 2
    assert [called.charged_output for called in stranger.called] == [output, streamed]
    assert not stranger.errors
