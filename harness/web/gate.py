"""The gate in front of every route: who asks, how much they send, and one line of log for each request."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import harness
from harness.serving.log import log
from harness.spec.accounts import Token
from harness.spec.errors import AccessDenied, DojoError, UsageError
from harness.spec.wire import API, API_HEADER, JSON_BYTES, REQUEST_HEADER, VERSION_HEADER
from harness.web.answers import refusal, status_of
from harness.web.site import Site

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OPEN = ("/healthz", "/readyz", "/v1/openapi.json")
"""What anybody may ask: none of it says anything of users or runs."""
_SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
_HOW = "set DOJO_TOKEN to one that an operator made with `dojo tokens create`"


class Gate:
    """An ASGI application around the routes."""

    def __init__(self, app: App, site: Site) -> None:
        self._app, self._site = app, site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(REQUEST_HEADER.encode(), b"").decode("latin-1")
        request = given if _ID.fullmatch(given) else secrets.token_hex(8)
        state = scope.setdefault("state", {})
        state["request"] = request
        started, status = time.monotonic(), 500

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = ((API_HEADER, str(API)), (VERSION_HEADER, harness.__version__), (REQUEST_HEADER, request))
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in own), *_SAFE]
            await send(message)

        try:
            if scope["path"] not in _OPEN:
                state["caller"] = await self._caller(scope)
            await self._app(scope, self._bounded(scope, receive), told)
        except DojoError as exc:
            self._site.measures.refused.labels(exc.code).inc()
            body = self._site.cleaner.json(refusal(exc))
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            headers += [(b"connection", b"close")]  # what it still sends is not read
            await told({"type": "http.response.start", "status": status_of(exc), "headers": headers})
            await told({"type": "http.response.body", "body": body})
        finally:
            self._tell(scope, status, time.monotonic() - started)

    async def _caller(self, scope: Scope) -> Token:
        """Say who asks, before a byte of the body is read.

        Raises:
            AccessDenied: nobody whom we know.
        """
        values = [value for name, value in scope["headers"] if name == b"authorization"]
        kind, _, text = (values[0] if len(values) == 1 else b"").partition(b" ")
        if kind.lower() != b"bearer":
            raise AccessDenied("the request carries no token", hint=_HOW, code="unknown_token")
        accounts = self._site.dojo.accounts
        found = await asyncio.to_thread(accounts.authenticate, text.decode("latin-1").strip())
        if found is None:
            # made each time: one that is raised again keeps every request that it was raised for
            raise AccessDenied("this token is unknown or revoked", hint=_HOW, code="unknown_token")
        return found

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        upload = scope["path"] == "/v1/agents" and scope["method"] == "POST"
        most, read = self._site.limits.upload_bytes if upload else JSON_BYTES, 0
        too_large = UsageError(f"the body is larger than {most:,} bytes", hint="send less", code="too_large")
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > most:
            raise too_large

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise too_large
            return message

        return bounded

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        caller, route = scope["state"].get("caller"), getattr(scope.get("route"), "path", "none")
        self._site.measures.requests.labels(scope["method"], route, status).inc()
        self._site.measures.seconds.labels(route).observe(seconds)
        who = {"user": caller.user, "token": caller.id} if caller else {"user": "", "token": ""}
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = {"time": moment, "event": "request", "id": scope["state"]["request"], "method": scope["method"], "route": route}
        log({**line, "status": status, "ms": round(seconds * 1000, 1), **who})
