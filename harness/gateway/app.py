"""What the gateway answers to a request: token, path, body, policy, then the call itself; every error in its provider's shape."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from starlette.requests import ClientDisconnect, Request

from harness.gateway.asking import Unasked, asked, checked_model, names, text_cap
from harness.gateway.call import GatewayCall
from harness.gateway.desk import Desk
from harness.gateway.dialogue import Failure
from harness.gateway.formats import FORMATS
from harness.gateway.formats.sse import json_bytes
from harness.gateway.line import Gone, Line, refused
from harness.gateway.policy import headers_kept
from harness.gateway.routes import NotServed, Route, authorised, query_of, route, shape_of
from harness.serving.body import BadBody, build, length_of, measure, read_body
from harness.serving.room import Room
from harness.serving.server import Receive, Scope, Send, hung_up
from harness.spec.event import LlmRefused

# A request with its images.
_MOST_BODY = 6 * 1024 * 1024
_NODES = 40_000
# Bodies of a run on their way in, all together.
_COMING = 8 * 1024 * 1024
# What is built of them until they are answered: for each byte its text and the body that goes upstream, in letters of up to four
# bytes where a text is not plain ASCII; and the values, with those of a translation.
_HELD = 20 * 1024 * 1024
_PLAIN, _WIDE, _VALUE = 3, 6, 300
# A body that is on its way holds room that others wait for.
_BODY_S = 60.0


class GatewayApp:
    """The ASGI application of one run's gateway.

    Args:
        desk: of the run.
        token: the run's.
    """

    def __init__(self, desk: Desk, token: str) -> None:
        self._desk, self._token = desk, token
        self._coming, self._held = Room(_COMING), Room(_HELD)
        self._text = text_cap(desk.backbone)
        self._calls: set[asyncio.Task[None]] = set()
        self._closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        shape = shape_of(scope["path"], request.headers)
        try:
            await self._respond(request, shape, send)
        except NotServed as exc:
            await self._refuse(send, shape, exc.failure, "")
        except Unasked as exc:
            await self._refuse(send, shape, exc.failure, exc.model)
        except BadBody as exc:
            await self._refuse(send, shape, Failure(exc.status, exc.code, exc.message), "")
        except (Gone, ClientDisconnect, ConnectionError, TimeoutError):
            return  # nobody is there to be answered, or nobody reads
        except Exception as exc:
            await self._desk.unforeseen(exc, f"{request.method} {scope['path'][:200]}")
            message = "the gateway failed; this is recorded, and no fault of the caller"
            with contextlib.suppress(Gone):
                await refused(send, shape, Failure(500, "internal", message), self._desk.redactor)

    def make_room(self, size: int) -> None:
        """From now on hold this many bytes of bodies, and of what is made of them, at a time."""
        self._coming, self._held = Room(size), Room(size)

    async def quiet(self) -> None:
        """Wait until there is no call, and all are settled and recorded."""
        while self._calls:
            await asyncio.wait(set(self._calls))
        await self._desk.quiet()

    async def close(self, drain_s: float) -> None:
        """Take no further calls, wait for those there are, break off what is left, settle all."""
        self._closing = True
        if self._calls:
            _, left = await asyncio.wait(set(self._calls), timeout=drain_s)
            for call in left:
                call.cancel()
            if left:
                await asyncio.wait(left)
        await self._desk.close()

    async def _respond(self, request: Request, shape: str, send: Send) -> None:
        query = query_of(request.scope.get("query_string", b""))
        if not authorised(self._token, request.scope["headers"], query):
            message = (
                "this is not the run's token: send DOJO's OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY as it was given"
            )
            raise NotServed(Failure(401, "unauthorised", message))
        if self._closing:
            raise NotServed(Failure(503, "closing", "the run is over"))
        way = route(request.method, request.scope["path"], request.headers, query)
        if way.kind in ("models", "model"):
            await self._models(way, send)
            return
        announced = length_of(request, _MOST_BODY)
        # a body that does not say its length is small
        cap = self._text if announced is None else _MOST_BODY
        size = cap if announced is None else announced
        async with contextlib.AsyncExitStack() as holding:
            async with self._coming.take(size):
                try:
                    async with asyncio.timeout(_BODY_S):
                        data = await read_body(request, cap)
                except TimeoutError:
                    raise BadBody(408, "usage", f"the body did not come within {_BODY_S:g} s") from None
                found = measure(data, nodes=_NODES)
                if found.wide > self._text:
                    raise BadBody(413, "too_large", f"at most {self._text} bytes of text are taken")
                cost = _VALUE * found.values + _PLAIN * len(data) + _WIDE * found.wide
                # whoever has this room waits for none of the other, so nobody waits in a circle
                await holding.enter_async_context(self._held.take(cost))
                body = build(data)
                del data
            if way.kind == "count":
                await self._count(way, body, send)
            else:
                await self._call(way, request, body, send)

    async def _call(self, way: Route, request: Request, body: Any, send: Send) -> None:
        desk = self._desk
        path = request.scope["path"]
        wanted = asked(way, path, body, desk.backbone, desk.name, desk.bounds, desk.grants)
        call = GatewayCall(desk, wanted, body, headers_kept(request.headers), send)
        work = asyncio.ensure_future(call.run())
        self._calls.add(work)
        work.add_done_callback(self._calls.discard)
        left = asyncio.ensure_future(hung_up(request.receive))
        try:
            await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # whoever is gone, or whatever ends this server, ends the call; it settles itself
            for task in (work, left):
                task.cancel()
            await asyncio.gather(work, left, return_exceptions=True)
        if not work.cancelled():
            work.result()

    async def _count(self, way: Route, body: Any, send: Send) -> None:
        desk = self._desk
        if not isinstance(body, dict):
            raise Unasked(Failure(400, "usage", "the body must be a JSON object"))
        model = way.model if way.format == "google" else body.get("model")
        checked_model(model, desk.backbone, desk.name)
        inner = body.get("generateContentRequest")
        counted = inner if way.format == "google" and isinstance(inner, dict) else body
        await self._json(send, way, FORMATS[way.format].count(desk.bounds.measure(way.format, counted).about))

    async def _models(self, way: Route, send: Send) -> None:
        desk = self._desk
        if way.kind == "models":
            await self._json(send, way, FORMATS[way.format].models(names(desk.backbone, desk.name)))
            return
        model = checked_model(way.model, desk.backbone, desk.name)
        (listed,) = FORMATS[way.format].models([model])["models" if way.format == "google" else "data"]
        await self._json(send, way, listed)

    async def _json(self, send: Send, way: Route, answer: Any) -> None:
        line = Line(send, way.format, False, self._desk.redactor)
        line.done(self._desk.redactor.clean(json_bytes(answer)))
        await line.finish()

    async def _refuse(self, send: Send, shape: Any, failure: Failure, model: str) -> None:
        status, _ = FORMATS[shape].failure(failure)
        await self._desk.refuse(
            LlmRefused(format=shape, asked=model[:200], status=status, error=failure.code, message=failure.message[:500])
        )
        with contextlib.suppress(Gone):
            await refused(send, shape, failure, self._desk.redactor)
