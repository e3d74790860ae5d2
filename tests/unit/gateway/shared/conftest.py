"""A shared gateway on a real port, and behind it a provider that is told what to do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn

from harness.gateway.shared.provider import Provider
from harness.gateway.shared.serve import run
from harness.serving.tcp import address, listen
from harness.spec.backbone import Backbone

TOKEN = "the-token-of-this-gateway"
KEY = "sk-a-key-of-the-provider/0123456789+"
PIECES = [b'data: {"\xc3\xa9": 1}\n\n', b"data: half a", b" piece\n\n", b"data: [DONE]\n\n"]


@dataclass
class Upstream:
    """Answers with `PIECES`, the first of them at once and the others when ``go`` is set.

    With ``mute`` nothing comes before that, with ``cut`` nothing after the first.
    """

    status: int = 200
    mute: bool = False
    cut: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    answer: Callable[[dict[str, Any]], list[bytes]] = lambda asked: PIECES
    asked: list[dict[str, Any]] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    told: threading.Condition = field(default_factory=threading.Condition)
    left: threading.Event = field(default_factory=threading.Event)
    at_work: int = 0
    most: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive()).get("more_body") or message.get("body"):
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        path, query = scope["raw_path"].decode(), scope["query_string"].decode()
        asked = {"path": path, "query": query, "headers": headers, "body": body}
        with self.told:
            self.asked.append(asked)
            self.at_work += 1
            self.most = max(self.most, self.at_work)
            self.told.notify_all()
        try:
            if self.mute and not await self._told_to_go(receive):
                return
            pairs = [(name.encode(), value.encode()) for name, value in self.headers.items()]
            await send({"type": "http.response.start", "status": self.status, "headers": pairs})
            first, *others = self.answer(asked)
            await send({"type": "http.response.body", "body": first, "more_body": True})
            if self.cut or not await self._told_to_go(receive):
                return
            for piece in others:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        finally:
            with self.told:
                self.at_work -= 1
        await send({"type": "http.response.body", "body": b""})

    async def _told_to_go(self, receive: Any) -> bool:
        gone = asyncio.ensure_future(receive())
        while not self.go.is_set() and not gone.done():
            await asyncio.wait({gone}, timeout=0.01)
        if gone.done():
            self.left.set()
            return False
        gone.cancel()
        return True

    def wait_asked(self, count: int) -> None:
        with self.told:
            assert self.told.wait_for(lambda: len(self.asked) >= count, 20), f"asked {len(self.asked)} times, not {count}"


@dataclass
class Shared:
    """A gateway that serves."""

    url: str
    providers: dict[str, Provider]
    draining: threading.Event
    thread: threading.Thread

    def post(self, path: str, body: bytes = b"{}", token: str = TOKEN, **headers: str) -> httpx.Response:
        sent = {"authorization": f"Bearer {token}", "content-type": "application/json", **headers}
        return httpx.post(f"{self.url}{path}", content=body, headers=sent, timeout=30)


@contextmanager
def at_work(serve: Callable[[], None], stop: Callable[[], None]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=serve)
    thread.start()
    yield thread
    stop()
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="package")
def provider() -> Iterator[tuple[dict[str, Upstream], str]]:
    """One server for all tests, with the `Upstream` of each in its turn."""
    now: dict[str, Upstream] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await now["app"](scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, log_level="critical"))
    listening = listen("127.0.0.1", 0)

    def stop() -> None:
        server.should_exit = server.force_exit = True

    with at_work(lambda: asyncio.run(server.serve(sockets=[listening])), stop):
        yield now, address(listening)


@pytest.fixture
def upstream(provider: tuple[dict[str, Upstream], str]) -> Iterator[tuple[Upstream, str]]:
    now, url = provider
    now["app"] = Upstream()
    yield now["app"], url
    now["app"].go.set()


@pytest.fixture
def shared(upstream: tuple[Upstream, str]) -> Iterator[Callable[..., Shared]]:
    """Open a gateway with backbones, each of which is told by what differs from OpenAI's."""
    with ExitStack() as opened:

        def opening(*, limits: dict[str, Any] | None = None, key: str | None = KEY, **backbones: dict[str, Any]) -> Shared:
            given = {name: {"base_url": upstream[1], **said} for name, said in (backbones or {"house": {}}).items()}
            base = {"upstream": "openai", "model": "m", "shared": limits or {}}
            made = {name: Provider(name, Backbone(**{**base, **said}), key) for name, said in given.items()}
            listening, draining = listen("127.0.0.1", 0), threading.Event()
            url = address(listening)
            work = at_work(lambda: run(list(made.values()), TOKEN, listening, draining), draining.set)
            return Shared(url, made, draining, opened.enter_context(work))

        yield opening
        upstream[0].go.set()
