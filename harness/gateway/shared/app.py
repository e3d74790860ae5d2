"""What a shared gateway answers: token, path, bounds, a turn, then the provider's own answer as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import threading
import time
import traceback
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.requests import ClientDisconnect, Request

from harness.gateway.dialogue import Failure
from harness.gateway.formats import FORMATS
from harness.gateway.routes import NotServed, Route, authorised, query_of, route, shape_of
from harness.gateway.shared.measures import Measures
from harness.gateway.shared.provider import Provider
from harness.gateway.shared.turns import NoTurn
from harness.gateway.upstreams.http import CLIENT_HEADER, SHARED_TOKEN
from harness.serving.body import BadBody, length_of, read_body
from harness.serving.log import log
from harness.serving.server import Receive, Scope, Send, hung_up
from harness.spec.backbone import FormatName

# A run's gateway takes 6 MiB, and what is not ASCII doubles where it is written as escapes.
_MOST_BODY = 16 * 1024 * 1024
# Of all calls that wait or are at their providers.
_HELD = 256 * 1024 * 1024
_BUSY = "the calls of all runs together are at this backbone's limit"
_VERSIONED = ("/v1/", "/v1beta/")


@dataclass
class _Entry:
    """What is logged of one request: never what it says."""

    client: str
    backbone: str = ""
    format: FormatName = "chat"
    status: int = 499
    waited_s: float = 0.0
    began: float = field(default_factory=time.monotonic)


class SharedGateway:
    """The ASGI application of one replica.

    Args:
        providers: the backbones that it serves.
        token: the runners' key.
        draining: set when this replica ends.
    """

    def __init__(self, providers: Iterable[Provider], token: str, draining: threading.Event) -> None:
        self._providers = {each.name: each for each in providers}
        self._token, self._draining = token, draining
        self._held = 0
        self.measures = Measures({name: each.turns for name, each in self._providers.items()})

    def drain(self) -> None:
        """Let no further call go to a provider."""
        for each in self._providers.values():
            each.turns.close()

    async def close(self) -> None:
        """Close all connections to providers."""
        for each in self._providers.values():
            await each.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path in ("/healthz", "/readyz"):
            ready = path == "/healthz" or not self._draining.is_set()
            await _whole(send, 200 if ready else 503, json.dumps({"ok": ready}).encode())
            return
        request = Request(scope, receive)
        entry = _Entry(request.headers.get(CLIENT_HEADER, "")[:64] or (request.client.host if request.client else ""))
        try:
            await self._respond(request, entry, send)
        except NotServed as exc:
            await _refuse(send, entry, exc.failure)
        except BadBody as exc:
            await _refuse(send, entry, Failure(exc.status, exc.code, exc.message))
        except NoTurn as exc:
            entry.waited_s = time.monotonic() - entry.began
            text = "this gateway is closing: another replica takes the call" if exc.closing else _BUSY
            status, code = (503, "closing") if exc.closing else (429, "rate_limited")
            await _refuse(send, entry, Failure(status, code, text, exc.retry_after_s))
        except (ClientDisconnect, ConnectionError):
            entry.status = 499  # nobody is there to be answered
        except Exception as exc:
            entry.status, last = 500, traceback.extract_tb(exc.__traceback__)[-1]
            # its text may hold anything, and is left out
            log({"event": "internal", "error": type(exc).__name__, "where": f"{last.name}:{last.lineno}"})
            raise
        finally:
            self._tell(entry)

    async def _respond(self, request: Request, entry: _Entry, send: Send) -> None:
        path, query = request.scope["path"], query_of(request.scope.get("query_string", b""))
        name, _, rest = path.removeprefix("/").partition("/")
        rest = f"/{rest}" if f"/{rest}".startswith(_VERSIONED) else f"/v1/{rest}"
        entry.format = shape_of(rest, request.headers)
        if not authorised(self._token, request.scope["headers"], {}):
            message = f"this is not the gateway's token: name {SHARED_TOKEN} as the `key` of the backbone, and set it as there"
            raise NotServed(Failure(401, "unauthorised", message))
        if path == "/metrics":
            entry.status = 200
            await _whole(send, 200, self.measures.text(), {"content-type": self.measures.content_type})
            return
        provider = self._providers.get(name)
        if provider is None:
            served = ", ".join(sorted(self._providers))
            raise NotServed(Failure(404, "not_found", f"no backbone {name[:60]!r} is shared here; served are: {served}"))
        entry.backbone = name
        way = route(request.method, rest, request.headers, query)
        provider.address(way)  # what is not served waits for nothing
        size = length_of(request, _MOST_BODY)
        if size is None:
            raise NotServed(Failure(411, "usage", "say the length of the body"))
        if self._held + size > _HELD:
            raise NoTurn(1)
        self._held += size
        try:
            await _while_there(request.receive, self._pass(provider, way, request, entry, await read_body(request, size), send))
        finally:
            self._held -= size

    async def _pass(self, provider: Provider, way: Route, request: Request, entry: _Entry, body: bytes, send: Send) -> None:
        async with provider.turns.turn(entry.client):
            begun = time.monotonic()
            entry.waited_s = begun - entry.began
            self.measures.waited.labels(provider.name).observe(entry.waited_s)
            try:
                async with asyncio.timeout(provider.backbone.timeout_s):
                    async with provider.asked(way, request.headers, body) as answer:
                        entry.status = answer.status
                        headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
                        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
                        async for piece in answer.body:
                            if piece:  # else it is held back: it may be the beginning of a key
                                await send({"type": "http.response.body", "body": piece, "more_body": True})
                        await send({"type": "http.response.body", "body": b""})
            except (TimeoutError, httpx.HTTPError) as exc:
                if entry.status == 499:
                    message = f"the provider of {provider.name} did not answer within {provider.backbone.timeout_s:g} s"
                    raise NotServed(Failure(502, "upstream_broken", message)) from exc
                entry.status = 502  # an answer that has begun is left unfinished: the connection closes, and the run sees it
            finally:
                self.measures.seconds.labels(provider.name).observe(time.monotonic() - begun)

    def _tell(self, entry: _Entry) -> None:
        self.measures.requests.labels(entry.backbone, entry.format, entry.status).inc()
        moment, ms = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), (time.monotonic() - entry.began) * 1000
        who = {"client": entry.client, "backbone": entry.backbone, "format": entry.format, "status": entry.status}
        log({"time": moment, "event": "request", **who, "ms": round(ms, 1), "waited_ms": round(entry.waited_s * 1000, 1)})


async def _while_there(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do ``work`` until it ends.

    Raises:
        ClientDisconnect: its client has hung up, who gives his place up.
    """
    working, left = asyncio.ensure_future(work), asyncio.ensure_future(hung_up(receive))
    try:
        await asyncio.wait({working, left}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (working, left):
            task.cancel()
        await asyncio.gather(working, left, return_exceptions=True)
    if working.cancelled():
        raise ClientDisconnect
    working.result()


async def _refuse(send: Send, entry: _Entry, failure: Failure) -> None:
    entry.status, body = FORMATS[entry.format].failure(failure)
    again = {} if failure.retry_after_s is None else {"retry-after": str(math.ceil(failure.retry_after_s))}
    with contextlib.suppress(ConnectionError):
        await _whole(send, entry.status, json.dumps(body).encode(), again)


async def _whole(send: Send, status: int, body: bytes, more: Mapping[str, str] | None = None) -> None:
    headers = {"content-type": "application/json", "content-length": str(len(body)), **(more or {})}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
