"""Many runs before one gateway: bytes pass as they are, the key goes in and never out, limits hold for all together."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from harness.gateway.upstreams.http import HttpUpstream
from harness.spec.backbone import Backbone
from tests.unit.gateway.conftest import Opening, chat_reply
from tests.unit.gateway.shared.conftest import KEY, PIECES, TOKEN, Shared, Upstream

Opened = Callable[..., Shared]
Behind = tuple[Upstream, str]

BODY = '{"model": "m",  "say": "é"}'.encode()
FORMATS = [
    ("openai", "chat", "v1/chat/completions", "/chat/completions", "authorization"),
    ("openai", "chat", "chat/completions", "/chat/completions", "authorization"),
    ("openai", "responses", "v1/responses", "/responses", "authorization"),
    ("anthropic", "messages", "v1/messages", "/v1/messages", "x-api-key"),
    ("google", "google", "v1beta/models/g:streamGenerateContent", "/v1beta/models/g:streamGenerateContent", "x-goog-api-key"),
]


def test_each_format_passes_byte_for_byte_with_the_key_in_place_of_the_token(shared: Opened, upstream: Behind) -> None:
    upstream[0].go.set()
    upstream[0].headers = {"content-type": "text/event-stream", "x-request-id": "r-1", "set-cookie": "no"}
    opened = shared(**{format: {"upstream": kind, "formats": [format]} for kind, format, *_ in FORMATS})
    for _, format, path, there, header in FORMATS:
        sent = {"content-type": "application/json", "x-dojo-client": "run-1", "anthropic-version": "2023-06-01", "x-secret": "no"}
        sent[header] = f"Bearer {TOKEN}" if header == "authorization" else TOKEN
        query = "alt=sse" if format == "google" else ""
        answer = httpx.post(f"{opened.url}/{format}/{path}?{query}", content=BODY, headers=sent)
        assert (answer.status_code, answer.content) == (200, b"".join(PIECES)), path
        assert answer.headers["content-type"] == "text/event-stream" and answer.headers["x-request-id"] == "r-1"
        assert "set-cookie" not in answer.headers
        asked = upstream[0].asked[-1]
        assert (asked["path"], asked["query"], asked["body"]) == (there, query, BODY)
        assert asked["headers"][header].removeprefix("Bearer ") == KEY and asked["headers"]["anthropic-version"] == "2023-06-01"
        assert not {"x-dojo-client", "x-secret"} & set(asked["headers"]) and TOKEN not in str(asked)
    assert len(upstream[0].asked) == len(FORMATS)


def test_an_endpoint_that_wants_no_key_gets_none_and_no_token(shared: Opened, upstream: Behind) -> None:
    upstream[0].go.set()
    assert shared(key=None).post("/house/chat/completions").status_code == 200
    assert "authorization" not in upstream[0].asked[0]["headers"] and TOKEN not in str(upstream[0].asked)


def test_a_stream_comes_as_it_flows(shared: Opened, upstream: Behind) -> None:
    opened = shared()
    headers = {"authorization": f"Bearer {TOKEN}"}
    with httpx.stream("POST", f"{opened.url}/house/chat/completions", content=BODY, headers=headers, timeout=30) as stream:
        pieces = stream.iter_raw()
        assert next(pieces) == PIECES[0]  # the provider has not said more yet
        upstream[0].go.set()
        assert b"".join(pieces) == b"".join(PIECES[1:])


REFUSED = [
    ("/house/v1/chat/completions", "another-token-of-somebody", 401),
    ("/house/v1/chat/completions", KEY, 401),
    ("/metrics", "another-token-of-somebody", 401),
    ("/other/v1/chat/completions", TOKEN, 404),
    ("/house/v1/files", TOKEN, 404),
    ("/house/v1/models/x", TOKEN, 405),
    ("/house/v1/responses", TOKEN, 404),
    ("/house/v1/messages/count_tokens", TOKEN, 404),
    ("/goo/v1beta/models/../../files:generateContent", TOKEN, 404),
    ("/goo/v1beta/models/%2e%2e/x:generateContent", TOKEN, 404),
    ("/", TOKEN, 404),
]


def test_what_is_not_served_is_refused_before_anybody_is_asked(shared: Opened, upstream: Behind) -> None:
    opened = shared(house={}, goo={"upstream": "google"})
    for path, token, status in REFUSED:
        answer = _raw(opened.url, path, {"authorization": f"Bearer {token}", "content-length": "0"})
        assert answer.status == status and json.loads(answer.read())["error"]["message"], path
    assert upstream[0].asked == []


def test_a_body_beyond_the_bound_or_without_a_length_is_refused(shared: Opened, upstream: Behind) -> None:
    opened = shared()
    for told, status in (({"content-length": str(17 << 20)}, 413), ({"transfer-encoding": "chunked"}, 411)):
        answer = _raw(opened.url, "/house/chat/completions", {"authorization": f"Bearer {TOKEN}", **told})
        assert answer.status == status
    assert upstream[0].asked == []


def test_no_more_calls_are_at_the_provider_than_may_be(shared: Opened, upstream: Behind) -> None:
    opened = shared(limits={"concurrency": 3})
    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(opened.post, "/house/chat/completions", **{"x-dojo-client": f"run-{n % 4}"}) for n in range(20)]
        upstream[0].wait_asked(3)
        upstream[0].go.set()
        assert [call.result().status_code for call in calls] == [200] * 20
    assert upstream[0].most == 3 and len(upstream[0].asked) == 20


def test_a_provider_that_says_when_to_come_again_is_asked_by_nobody_until_then(shared: Opened, upstream: Behind) -> None:
    opened = shared(house={}, other={})
    upstream[0].go.set()
    upstream[0].status, upstream[0].headers = 429, {"retry-after": "100"}
    first = opened.post("/house/chat/completions")
    assert (first.status_code, first.headers["retry-after"], first.content) == (429, "100", b"".join(PIECES))
    upstream[0].status = 200
    second = opened.post("/house/chat/completions", **{"x-dojo-client": "another run"})
    assert second.status_code == 429 and 90 <= int(second.headers["retry-after"]) <= 100
    assert len(upstream[0].asked) == 1
    assert opened.post("/other/chat/completions").status_code == 200


def test_google_says_when_to_come_again_in_the_body(shared: Opened, upstream: Behind) -> None:
    opened = shared(goo={"upstream": "google"})
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "77s"}]
    told = json.dumps({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "no", "details": details}}).encode()
    upstream[0].answer, upstream[0].status = lambda asked: [told], 429
    upstream[0].go.set()
    assert opened.post("/goo/v1beta/models/g:generateContent").content == told
    assert opened.providers["goo"].turns.held_s > 70


def test_a_call_that_waits_too_long_is_told_to_come_again(shared: Opened, upstream: Behind) -> None:
    opened = shared(limits={"concurrency": 1, "wait_s": 0.05})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(opened.post, "/house/chat/completions")
        upstream[0].wait_asked(1)
        second = opened.post("/house/chat/completions")
        upstream[0].go.set()
        assert first.result().status_code == 200
    assert second.status_code == 429 and int(second.headers["retry-after"]) >= 1
    assert second.json()["error"]["code"] and len(upstream[0].asked) == 1


def test_clients_that_leave_give_their_places_up(shared: Opened, upstream: Behind) -> None:
    opened = shared(limits={"concurrency": 1})
    turns = opened.providers["house"].turns
    with httpx.Client(headers={"authorization": f"Bearer {TOKEN}"}, timeout=30) as client:
        request = client.build_request("POST", f"{opened.url}/house/chat/completions", content=b"{}")
        working = client.send(request, stream=True)
        waiting = http.client.HTTPConnection(opened.url.removeprefix("http://"), timeout=30)
        waiting.request("POST", "/house/chat/completions", b"{}", {"authorization": f"Bearer {TOKEN}"})
        _until(lambda: turns.waiting == 1)
        waiting.close()
        _until(lambda: turns.waiting == 0)
        working.close()
    assert upstream[0].left.wait(20)
    upstream[0].go.set()
    assert opened.post("/house/chat/completions").status_code == 200
    assert len(upstream[0].asked) == 2
    _until(lambda: turns.working == 0)


def test_a_gateway_that_ends_lets_answers_end_and_sends_who_waits_elsewhere(shared: Opened, upstream: Behind) -> None:
    opened = shared(limits={"concurrency": 1})
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(opened.post, "/house/chat/completions")
        upstream[0].wait_asked(1)
        second = pool.submit(opened.post, "/house/chat/completions")
        _until(lambda: opened.providers["house"].turns.waiting == 1)
        opened.draining.set()
        assert second.result().status_code == 503 and second.result().headers["retry-after"] == "1"
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{opened.url}/readyz")
        upstream[0].go.set()
        assert first.result().content == b"".join(PIECES)
    opened.thread.join(20)
    assert not opened.thread.is_alive()


def test_neither_answers_nor_the_log_hold_a_key_or_what_was_said(
    shared: Opened, upstream: Behind, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = shared()
    upstream[0].status, upstream[0].answer = 401, lambda asked: [f"no such key: {KEY[:9]}".encode(), f"{KEY[9:]}.".encode()]
    upstream[0].go.set()
    answer = opened.post("/house/chat/completions", BODY, **{"x-dojo-client": "run-1"})
    assert (answer.status_code, answer.text) == (401, "no such key: [redacted].")
    (line,) = [line for line in _until(lambda: capsys.readouterr().err).splitlines() if line]
    told = json.loads(line)
    assert set(told) == {"time", "event", "client", "backbone", "format", "status", "ms", "waited_ms"}
    assert (told["client"], told["backbone"], told["format"], told["status"]) == ("run-1", "house", "chat", 401)
    assert KEY not in line and TOKEN not in line and "say" not in line


def test_a_provider_that_is_not_there_or_redirects_is_told_without_a_key(shared: Opened, upstream: Behind) -> None:
    opened = shared(nobody={"base_url": "http://127.0.0.1:9"}, house={})
    answer = opened.post("/nobody/chat/completions")
    assert answer.status_code == 502 and "cannot be reached" in answer.text and KEY not in answer.text
    upstream[0].status, upstream[0].headers = 307, {"location": "http://127.0.0.1:9/elsewhere"}
    upstream[0].go.set()
    assert opened.post("/house/chat/completions").status_code == 502


def test_an_answer_that_breaks_off_breaks_off(shared: Opened, upstream: Behind) -> None:
    opened, upstream[0].cut = shared(), True
    with pytest.raises(httpx.RemoteProtocolError):
        opened.post("/house/chat/completions")
    _until(lambda: opened.providers["house"].turns.working == 0)


def test_a_provider_that_says_nothing_is_given_up(shared: Opened, upstream: Behind) -> None:
    opened, upstream[0].mute = shared(house={"timeout_s": 0.2}), True
    answer = opened.post("/house/chat/completions")
    assert answer.status_code == 502 and answer.json()["error"]["message"]
    assert opened.providers["house"].turns.working == 0


def test_health_is_told_to_all_and_numbers_to_who_has_the_token(shared: Opened, upstream: Behind) -> None:
    opened = shared()
    upstream[0].go.set()
    opened.post("/house/chat/completions")
    assert httpx.get(f"{opened.url}/healthz").status_code == httpx.get(f"{opened.url}/readyz").status_code == 200

    def told() -> bool:
        metrics = httpx.get(f"{opened.url}/metrics", headers={"authorization": f"Bearer {TOKEN}"}).text
        asked = 'dojo_gateway_requests_total{backbone="house",format="chat",status="200"} 1.0'
        return asked in metrics and 'dojo_gateway_working{backbone="house"} 0.0' in metrics

    _until(told)


def test_a_runs_own_gateway_works_through_it(
    shared: Opened, upstream: Behind, gateway: Opening, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = shared(openai={}, anthropic={"upstream": "anthropic"})
    upstream[0].go.set()
    for kind, path, reply in (("openai", "/v1/chat/completions", chat_reply()), ("anthropic", "/v1/messages", _message())):
        upstream[0].answer = lambda asked, reply=reply: [reply]
        for version in ("", "/v1"):
            settings = {"upstream": kind, "model": "m", "base_url": f"{opened.url}/{kind}{version}", "key": "DOJO_GATEWAY_TOKEN"}
            run = gateway(backbone=settings, upstream=HttpUpstream(Backbone.model_validate(settings), TOKEN))
            answer = run.post(path, {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]})
            assert answer.status_code == 200 and "hello" in answer.text, answer.text
            assert run.server.ledger.tokens == 10
    log: list[str] = []
    _until(lambda: log.extend(capsys.readouterr().err.splitlines()) or len(log) == 4)
    assert len({json.loads(line)["client"] for line in log}) == 4  # each run by itself, though all come from one address
    assert all(KEY in str(asked["headers"]) for asked in upstream[0].asked) and TOKEN not in str(upstream[0].asked)


def _message() -> bytes:
    usage = {"input_tokens": 7, "output_tokens": 3}
    content = [{"type": "text", "text": "hello"}]
    fields = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": content, "stop_reason": "end_turn"}
    return json.dumps({**fields, "stop_sequence": None, "usage": usage}).encode()


def _raw(url: str, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """Post to a path as it is, without a body."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.putrequest("POST", path)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection.getresponse()


def _until(look: Callable[[], Any]) -> Any:
    """Return what ``look`` returns once it is true."""
    pause, end = threading.Event(), time.monotonic() + 20
    while not (seen := look()):
        assert time.monotonic() < end
        pause.wait(0.01)
    return seen
