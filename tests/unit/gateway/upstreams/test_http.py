"""Endpoints over HTTP, against a real server on this machine."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest
import uvicorn

from harness.gateway.upstreams.asking import small_call, whole
from harness.gateway.upstreams.base import Answer, Call, UpstreamFailed
from harness.gateway.upstreams.http import HttpUpstream, base_url, retry_after_s, url_of
from harness.spec.backbone import Backbone, FormatName, UpstreamName

KEY = "sk-of-the-house"
FORMATS: tuple[FormatName, ...] = ("chat", "responses", "messages", "google")


class Server:
    """Answers with `status`, `headers` and `body`; or never ends its answer (`hangs`), or never begins (`silent`)."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, {"content-type": "application/json"}, b"{}"
        self.hangs = self.silent = False
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.left = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        query = scope["query_string"].decode()
        path = scope["raw_path"].decode() + (f"?{query}" if query else "")
        self.asked.append((path, {name.decode(): value.decode() for name, value in scope["headers"]}))
        if not self.silent:
            told = [(name.encode(), value.encode()) for name, value in self.headers.items()]
            await send({"type": "http.response.start", "status": self.status, "headers": told})
            await send({"type": "http.response.body", "body": self.body, "more_body": self.hangs})
        if self.hangs or self.silent:
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.set()


@pytest.fixture(scope="module")
def serving() -> Iterator[tuple[list[Server], str]]:
    current: list[Server] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await current[-1](scope, receive, send)

    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None, log_level="critical")
    server = uvicorn.Server(config)
    listening = config.bind_socket()
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    yield current, f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = server.force_exit = True
    thread.join(20)


@pytest.fixture
def server(serving: tuple[list[Server], str]) -> Server:
    serving[0].append(Server())
    return serving[0][-1]


@pytest.fixture
def address(serving: tuple[list[Server], str]) -> str:
    return serving[1]


def with_upstream(base: str, do: Callable[[HttpUpstream], Awaitable[Any]], upstream: UpstreamName = "openai", **more: Any) -> Any:
    async def run() -> Any:
        open = HttpUpstream(Backbone(upstream=upstream, model="m", base_url=base, **more), KEY)
        try:
            return await do(open)
        finally:
            await open.close()

    return asyncio.run(run())


def failure_of(base: str, **more: Any) -> UpstreamFailed:
    async def fails(open: HttpUpstream) -> UpstreamFailed:
        with pytest.raises(UpstreamFailed) as caught:
            await whole(await open.send(small_call("chat", "m")))
        return caught.value

    failed: UpstreamFailed = with_upstream(base, fails, **more)
    return failed


def a_call(format: FormatName, stream: bool = False, model: str = "m") -> Call:
    return small_call(format, model, stream=stream)


@pytest.mark.parametrize(
    ("upstream", "base", "format", "stream", "url"),
    [
        ("openai", "", "chat", False, "https://api.openai.com/v1/chat/completions"),
        ("openai", "", "responses", True, "https://api.openai.com/v1/responses"),
        ("openai", "http://h:1/v1/", "messages", False, "http://h:1/v1/messages"),
        ("anthropic", "", "messages", False, "https://api.anthropic.com/v1/messages"),
        ("anthropic", "http://h/v1", "messages", True, "http://h/v1/messages"),
        ("google", "", "google", False, "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent"),
        ("google", "http://h/v1", "google", True, "http://h/v1/models/m:streamGenerateContent?alt=sse"),
    ],
)
def test_each_provider_and_format_has_its_url(upstream: Any, base: str, format: FormatName, stream: bool, url: str) -> None:
    backbone = Backbone(upstream=upstream, model="m", base_url=base)
    assert url_of(base_url(backbone), upstream, a_call(format, stream)) == url


def test_a_models_name_cannot_lead_a_call_elsewhere() -> None:
    url = url_of("http://h", "google", a_call("google", model="models/a?b#c d"))
    assert url == "http://h/v1beta/models/a%3Fb%23c%20d:generateContent"


@pytest.mark.parametrize(
    ("upstream", "format", "header", "value"),
    [
        ("openai", "chat", "authorization", f"Bearer {KEY}"),
        ("anthropic", "messages", "x-api-key", KEY),
        ("google", "google", "x-goog-api-key", KEY),
    ],
)
def test_each_provider_gets_the_key_in_its_own_header_only(
    server: Server, address: str, upstream: Any, format: FormatName, header: str, value: str
) -> None:
    async def send(open: HttpUpstream) -> bytes:
        return await whole(await open.send(a_call(format)))

    assert with_upstream(address, send, upstream) == b"{}"
    path, headers = server.asked[0]
    assert {name: said for name, said in headers.items() if KEY in said} == {header: value}
    assert KEY not in path and ("anthropic-version" in headers) == (format == "messages")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "refused"), (401, "broken"), (403, "broken"), (404, "refused"), (408, "broken"), (429, "busy")]
    + [(status, "broken") for status in (500, 502, 503, 529)],
)
def test_each_status_says_whose_fault_it_is(server: Server, address: str, status: int, kind: str) -> None:
    server.status, server.body, server.headers = status, b'{"error": {"message": "no luck"}}', {"retry-after": "3"}
    failed = failure_of(address)
    assert (failed.kind, failed.status, failed.body, failed.retry_after_s) == (kind, status, server.body, 3)
    assert failed.message.endswith(f"answered {status}: no luck")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_its_aim_is_named_without_its_query(server: Server, address: str, status: int) -> None:
    server.status, server.headers = status, {"location": f"{address}/elsewhere?secret=1"}
    failed = failure_of(address)
    assert failed.kind == "broken" and "/elsewhere, which is not followed" in failed.message and "secret" not in failed.message
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after": formatdate(1060, usegmt=True)}, 60),
        ({"retry-after": formatdate(900, usegmt=True)}, 0),
        ({"retry-after": "-4"}, 0),
        ({"retry-after": "1e9"}, 24 * 3600),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait_is_read_as_milliseconds_seconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, lambda: 1000.0) == seconds


def test_nobody_listening_is_broken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        failed = failure_of(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert failed.kind == "broken" and failed.status is None and "cannot be reached" in failed.message


@pytest.mark.parametrize("base", ["http://[", "ftp://h", "http://h:99999"])
def test_an_address_that_is_none_is_broken(base: str) -> None:
    assert failure_of(base).kind == "broken"


@pytest.mark.parametrize(("how", "words"), [("silent", "no answer from"), ("hangs", "did not end in time")])
def test_an_answer_that_never_begins_or_ends_is_broken(server: Server, address: str, how: str, words: str) -> None:
    setattr(server, how, True)
    failed = failure_of(address, timeout_s=0.2)
    assert failed.kind == "broken" and words in failed.message
    assert server.left.wait(10)


@pytest.mark.parametrize("read", [False, True])
def test_closing_an_answer_tells_the_server_to_stop(server: Server, address: str, read: bool) -> None:
    server.hangs, server.body = True, b"data: 1\n\n"

    async def leave(open: HttpUpstream) -> bool:
        answer: Answer = await open.send(a_call("chat", stream=True))
        body: AsyncIterator[bytes] = answer.body
        if read:
            assert await anext(body) == b"data: 1\n\n"
        await answer.aclose()
        await answer.aclose()
        return await asyncio.to_thread(server.left.wait, 10)

    assert with_upstream(address, leave)
