"""One call through the gateway: reserved, sent, answered, settled, recorded, whatever happens on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harness.gateway.account import Reservation, Spent
from harness.gateway.answering import MOST_WHOLE, Broken, keep_alive, pipe, stream_failure
from harness.gateway.asking import Asked, Unasked, upstream_body
from harness.gateway.dialogue import Failure, TokenUsage, ToolCall
from harness.gateway.formats import FORMATS
from harness.gateway.line import Gone, Line, Send
from harness.gateway.recording import Exchange
from harness.gateway.retries import Begun, Tried, closed
from harness.gateway.upstreams.base import Call, UpstreamFailed

if TYPE_CHECKING:
    from harness.gateway.desk import Desk


class GatewayCall:
    """Answers one request.

    Args:
        desk: what all calls of a run share.
        asked: the request.
        body: as the agent sent it.
        headers: of the client that go upstream.
        send: of the connection.
    """

    def __init__(self, desk: Desk, asked: Asked, body: Mapping[str, Any], headers: Mapping[str, str], send: Send) -> None:
        self._desk, self._asked, self._headers = desk, asked, headers
        self._line = Line(send, asked.format, asked.stream, desk.redactor)
        self._pipe = pipe(asked, body, desk.redactor)
        self._tried = Tried()
        # whether the upstream certainly did no work
        self._free = True
        self._first_s: float | None = None
        self._came, self._time, self._elapsed = desk.clock(), datetime.now(UTC), desk.elapsed()

    async def run(self) -> None:
        """Answer the request. Also where this is cancelled, since its client left, the call is settled.

        Raises:
            Unasked: the budget has no room.
            StoreError: the events cannot be written.
        """
        async with self._desk.places:
            try:
                reservation = await self._desk.reserve(self._asked.wish)
            except Spent as spent:
                raise Unasked(Failure(429, "budget_exceeded", spent.message), self._asked.model) from None
            try:
                await self._respond(reservation)
            except asyncio.CancelledError:
                self._line.hung_up()
                raise
            finally:
                # the agent has its answer already: what it does next waits for this only where the budget is short
                await self._desk.finished(self._settle(reservation))

    async def _respond(self, reservation: Reservation) -> None:
        try:
            try:
                await self._answer(reservation)
            except Gone:
                raise
            except Exception as exc:
                await self._desk.unforeseen(exc, f"call {reservation.call}")
                self._fail(Failure(500, "internal", "the gateway failed; this is recorded, and no fault of the caller"))
            await self._line.finish()
        except (Gone, OSError):
            self._line.hung_up()

    async def _answer(self, reservation: Reservation) -> None:
        asked, desk = self._asked, self._desk
        model = desk.backbone.model or asked.model
        body = upstream_body(asked, desk.backbone, reservation.output, desk.account.limited)
        call = Call(reservation.call, asked.upstream, model, body, asked.stream, reservation.request, self._headers)
        try:
            begun = await self._begin(call)
        except UpstreamFailed as failed:
            self._fail(self._told(failed))
            return
        self._free, self._first_s = False, desk.clock() - self._came
        limit = desk.backbone.timeout_s
        try:
            with desk.outages.at_work():
                async with asyncio.timeout(limit):
                    await (self._stream(begun) if asked.stream else self._whole(begun))
        except TimeoutError:
            self._fail(Failure(504, "upstream_timeout", f"the answer took longer than the {limit:g} s that it may"))
        except UpstreamFailed as failed:
            self._fail(Failure(502, "upstream_broken", f"the answer broke off: {failed.message[:500]}"))
        except Broken as broken:
            self._fail(Failure(502, "upstream_broken", f"the answer broke off: {str(broken)[:500]}"))
        finally:
            await closed(begun.rest)

    async def _begin(self, call: Call) -> Begun:
        """Send a call until its answer begins; keep a stream's client that has to wait for that."""
        sending = asyncio.ensure_future(self._desk.retries.send(call, self._tried))
        try:
            while self._asked.stream and not (await asyncio.wait({sending}, timeout=self._desk.keep_alive_s))[0]:
                await self._line.put(keep_alive(self._asked))
            return await asyncio.shield(sending)
        except UpstreamFailed:
            raise
        except BaseException:
            self._free = self._tried.tries == 0
            sending.cancel()
            (begun,) = await asyncio.gather(sending, return_exceptions=True)
            if isinstance(begun, Begun):
                await closed(begun.rest)
            raise

    async def _stream(self, begun: Begun) -> None:
        await self._line.put(self._pipe.feed(begun.first))
        async for data in begun.rest:
            await self._line.put(self._pipe.feed(data))
        self._line.done(self._pipe.end())

    async def _whole(self, begun: Begun) -> None:
        out, size = bytearray(self._pipe.feed(begun.first)), len(begun.first)
        async for data in begun.rest:
            size += len(data)
            if size > MOST_WHOLE:
                raise Broken(f"it is larger than {MOST_WHOLE} bytes")
            out += self._pipe.feed(data)
        out += self._pipe.end()
        self._line.done(bytes(out))

    def _told(self, failed: UpstreamFailed) -> Failure:
        """Return an upstream's failure as the agent is told it."""
        self._free = not self._tried.unknown
        said = FORMATS[self._asked.upstream].read_failure(failed.status or 502, failed.body or failed.message.encode())
        if failed.status in (401, 403):
            return Failure(502, "upstream_unauthorised", "the backbone does not take the harness's key: no call can succeed")
        if failed.kind == "busy":
            return Failure(429, "upstream_busy", said.message, failed.retry_after_s or said.retry_after_s)
        if failed.kind == "refused":
            return Failure(failed.status or 400, said.code[:100], said.message)
        return Failure(503, "upstream_broken", f"the backbone does not answer: {said.message}", failed.retry_after_s)

    def _fail(self, failure: Failure) -> None:
        said_something = self._first_s is not None
        self._line.fail(failure, lambda it: self._pipe.failure(it) if said_something else stream_failure(self._asked, it))

    async def _settle(self, reservation: Reservation) -> None:
        desk, asked, line = self._desk, self._asked, self._line
        reply = self._pipe.reply() if self._first_s is not None else None
        usage = reply.usage if reply else TokenUsage()
        desk.bounds.learn(asked.measured, usage.input)
        facts = {
            "format": asked.format,
            "upstream_format": asked.upstream,
            "asked": asked.model,
            "served": reply.model[:200] if reply else "",
            "status": line.status,
            "error": line.error,
            "stop": reply.stop if reply and line.error is None else None,
            "streamed": asked.stream,
            "tools": sum(isinstance(part, ToolCall) for part in reply.parts) if reply else 0,
            "latency_s": round(desk.clock() - self._came, 6),
            "first_s": None if self._first_s is None else round(self._first_s, 6),
            "tries": self._tried.tries,
            "waited_s": round(self._tried.waited_s, 6),
        }
        exchange = Exchange(
            call=reservation.call,
            request=reservation.request,
            time=self._time,
            elapsed_s=self._elapsed,
            format=asked.format,
            path=asked.path,
            body=asked.body,
            stream=asked.stream,
            status=line.status,
            answer=b"",
            reply=reply if line.error in (None, "hung_up") else None,
            cut=line.kept.cut,
        )
        await desk.settle(reservation, usage, self._free, facts, lambda: replace(exchange, answer=line.kept.bytes()))
