import json

import pytest

from harness.gateway.dialogue import Failure
from harness.gateway.formats import FORMATS
from harness.gateway.formats.errors import headers_of

READ = [
    (
        "chat",
        401,
        {"error": {"message": "Incorrect API key", "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}},
        "invalid_api_key",
        "Incorrect API key",
    ),
    (
        "chat",
        400,
        {"object": "error", "message": "too long", "type": "BadRequestError", "code": 400},
        "BadRequestError",
        "too long",
    ),
    ("chat", 404, {"detail": "Not Found"}, "upstream_404", "Not Found"),
    ("chat", 500, {"error": "model is loading"}, "upstream_500", "model is loading"),
    (
        "messages",
        529,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        "overloaded_error",
        "Overloaded",
    ),
    (
        "google",
        429,
        [{"error": {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "7s"}]}}],
        "RESOURCE_EXHAUSTED",
        "Quota",
    ),
]


@pytest.mark.parametrize(("name", "status", "body", "code", "message"), READ)
def test_an_upstreams_error_is_read_in_whichever_shape(name, status, body, code, message):
    failure = FORMATS[name].read_failure(status, json.dumps(body).encode())
    assert (failure.status, failure.code, failure.message) == (status, code, message)
    assert failure.retry_after_s == (7 if name == "google" else None)


@pytest.mark.parametrize(
    "body", [b"", b"\xff<html>bad gateway</html>", b"[]", b"7", b'{"error": {"message": 7}}', b"[" * 100_000]
)
@pytest.mark.parametrize("name", FORMATS)
def test_an_error_that_cannot_be_read_is_quoted_and_cut(name, body):
    failure = FORMATS[name].read_failure(502, body)
    assert failure.status == 502
    assert 0 < len(failure.message) <= 2000


@pytest.mark.parametrize("name", FORMATS)
def test_an_error_that_was_written_is_read_again(name):
    status, body = FORMATS[name].failure(Failure(404, "model_not_found", "no model x"))
    assert FORMATS[name].read_failure(status, json.dumps(body).encode()).message == "no model x"


def test_a_spent_budget_is_each_providers_error_of_an_account_without_credit():
    spent = Failure(429, "budget_exceeded", "spent")
    told = {name: wire.failure(spent) for name, wire in FORMATS.items()}
    assert told["chat"] == told["responses"]
    assert (told["chat"][0], told["chat"][1]["error"]["type"], told["chat"][1]["error"]["code"]) == (
        429,
        "insufficient_quota",
        "budget_exceeded",
    )
    assert (told["messages"][0], told["messages"][1]["error"]["details"]["error_code"]) == (400, "budget_exceeded")
    google = told["google"][1]["error"]
    assert (told["google"][0], google["status"], google["message"]) == (429, "RESOURCE_EXHAUSTED", "spent (limit: 0 from now on)")


@pytest.mark.parametrize(
    ("failure", "headers"),
    [
        (Failure(429, "budget_exceeded", ""), {"x-should-retry": "false"}),
        (Failure(404, "model_not_found", ""), {"x-should-retry": "false"}),
        (Failure(400, "malformed", ""), {"x-should-retry": "false"}),
        (Failure(429, "busy", "", 2.5), {"retry-after": "2.5"}),
        (Failure(503, "overloaded", ""), {}),
    ],
)
def test_clients_are_told_whether_to_try_again(failure, headers):
    assert headers_of(failure) == headers


def test_counts_and_models_have_each_providers_shape():
    assert FORMATS["messages"].count(7) == {"input_tokens": 7}
    assert FORMATS["google"].count(7) == {"totalTokens": 7}
    assert FORMATS["responses"].count(7)["input_tokens"] == 7
    assert FORMATS["messages"].models([])["first_id"] is None
    assert FORMATS["google"].models(["m"])["models"][0]["name"] == "models/m"
    assert FORMATS["chat"].models(["m"]) == FORMATS["responses"].models(["m"])
