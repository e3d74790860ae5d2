"""A gateway over its real socket, with an upstream that a test scripts, and clients of all kinds."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.gateway.ledger import Ledger
from harness.gateway.server import GatewayContext, GatewayServer, Pace
from harness.gateway.upstreams.base import Answer, Call, UpstreamFailed
from harness.spec.backbone import Backbone
from harness.spec.budget import Budget
from harness.spec.event import LlmCalled, LlmOutage, LlmRefused, LlmReserved, Payload

TOKEN = "token-of-this-run"
KEY = "sk-the-harness-own-key/0123456789+"


def chat_reply(text: str = "hello", prompt: int | None = 7, output: int | None = 3) -> bytes:
    usage = {"usage": {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": 0}} if prompt is not None else {}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"id": "c1", "object": "chat.completion", "model": "m-1", "choices": [choice], **usage}).encode()


def chat_stream(words: tuple[str, ...] = ("hel", "lo"), prompt: int | None = 7, output: int | None = 3) -> list[bytes]:
    def chunk(**fields: Any) -> bytes:
        return (
            b"data: " + json.dumps({"id": "c1", "object": "chat.completion.chunk", "model": "m-1", **fields}).encode() + b"\n\n"
        )

    out = [chunk(choices=[{"index": 0, "delta": {"role": "assistant", "content": word}}]) for word in words]
    out.append(chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    if prompt is not None:
        out.append(chunk(choices=[], usage={"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": 0}))
    return [*out, b"data: [DONE]\n\n"]


class ScriptedUpstream:
    """Answers with what `answer` returns: bytes, pieces, an exception, or an iterator of its own."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answer: Callable[[Call], Any] = lambda call: chat_stream() if call.stream else chat_reply()
        self.probes: list[Exception | None] = []
        self.probed = 0
        self.cancelled = threading.Event()
        self.closed = False

    async def send(self, call: Call) -> Answer:
        self.calls.append(call)
        answer = self.answer(call)
        if isinstance(answer, Exception):
            raise answer
        if hasattr(answer, "__await__"):
            answer = await answer
        return Answer(self._body(answer), {})

    async def _body(self, answer: Any) -> AsyncIterator[bytes]:
        try:
            if hasattr(answer, "__aiter__"):
                async for piece in answer:
                    yield piece
                return
            for piece in [answer] if isinstance(answer, bytes) else answer:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.set()
            raise

    async def probe(self) -> None:
        self.probed += 1
        failure = self.probes.pop(0) if self.probes else None
        if failure is not None:
            raise failure

    async def close(self) -> None:
        self.closed = True


class Book:
    """Events as a run would write them."""

    def __init__(self) -> None:
        self.events: list[Payload] = []
        self.told = threading.Condition()

    def emit(self, payload: Payload) -> None:
        with self.told:
            self.events.append(payload)
            self.told.notify_all()

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def wait(self, kind: type[Any], count: int = 1) -> list[Any]:
        with self.told:
            assert self.told.wait_for(lambda: len(self.of(kind)) >= count, 20), f"no {count} {kind.__name__} in {self.events}"
        return self.of(kind)

    @property
    def ledger(self) -> Ledger:
        ledger = Ledger()
        for event in self.events:
            if isinstance(event, LlmReserved | LlmCalled | LlmRefused | LlmOutage):
                ledger = ledger.after(event)
        return ledger


@dataclass
class Open:
    """A gateway that serves."""

    server: GatewayServer
    upstream: ScriptedUpstream
    book: Book
    socket: Path
    recording: Path
    errors: list[Any] = field(default_factory=list)

    def client(self, **settings: Any) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.socket))
        headers = settings.pop("headers", {"authorization": f"Bearer {TOKEN}"})
        return httpx.Client(transport=transport, base_url="http://gateway", headers=headers, timeout=30, **settings)

    def post(self, path: str, body: Any, **settings: Any) -> httpx.Response:
        """Call, and wait until all is in the book."""
        with self.client() as client:
            answer = client.post(path, json=body, **settings)
        self.server.wait_settled()
        return answer

    def chat(self, text: str = "hi", **fields: Any) -> httpx.Response:
        return self.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": text}], **fields})


Opening = Callable[..., Open]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Opening]:
    opened: list[Open] = []

    def opening(
        budget: Mapping[str, Any] | None = None, backbone: Mapping[str, Any] | None = None, pace: Pace | None = None, **more: Any
    ) -> Open:
        book, upstream, errors = more.pop("book", Book()), more.pop("upstream", ScriptedUpstream()), []
        number = len(opened)
        socket = tmp_path / f"{number}.sock"
        context = GatewayContext(
            backbone=Backbone(**{"upstream": "openai", "model": "m", **(backbone or {})}),
            name="brain",
            upstream=upstream,
            budget=Budget(wall=600, **(budget or {})),
            ledger=book.ledger,
            emit=book.emit,
            elapsed=more.pop("elapsed", lambda: 12.0),
            recording=tmp_path / f"llm-{number}",
            secrets=(KEY,),
            **more,
        )
        server = GatewayServer(context, socket, TOKEN, errors.append, pace)
        opened.append(Open(server, upstream, book, socket, context.recording, errors))
        return opened[-1]

    yield opening
    for each in opened:
        each.server.close(0.1)


def failed(kind: Any = "broken", status: int | None = None, **more: Any) -> UpstreamFailed:
    return UpstreamFailed(kind, more.pop("message", f"upstream {kind}"), status=status, **more)
