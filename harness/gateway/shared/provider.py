"""One backbone of a shared gateway: bytes to the provider and back as they are, with its key in place of the gateway's token."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import httpx

from harness.gateway.dialogue import Failure
from harness.gateway.formats import FORMATS
from harness.gateway.redact import Redactor
from harness.gateway.routes import NotServed, Route
from harness.gateway.shared.turns import Turns
from harness.gateway.upstreams.base import Call
from harness.gateway.upstreams.http import ERROR_BODY, KEPT_HEADERS, base_url, key_header, open_client, retry_after_s, url_of
from harness.spec.backbone import Backbone, SharedLimits

_SENT_ON = ("content-type", "accept", "anthropic-version", "anthropic-beta", "user-agent")
_TOLD = (*KEPT_HEADERS, "retry-after", "retry-after-ms")


@dataclass(frozen=True)
class Passing:
    """An answer on its way.

    Attributes:
        status: of the provider.
        headers: of the provider, those that go on.
        body: its bytes as they come, without the key. Raises what httpx raises where they break off.
    """

    status: int
    headers: Mapping[str, str]
    body: AsyncIterator[bytes]


class Provider:
    """The connections of all runs to one endpoint.

    Args:
        name: of the backbone.
        backbone: whose `shared` says the limits.
        key: of the account; None: the endpoint wants none.
    """

    def __init__(self, name: str, backbone: Backbone, key: str | None) -> None:
        limits = backbone.shared or SharedLimits()
        self.name, self.backbone = name, backbone
        self.turns = Turns(limits, time.monotonic)
        self._key, self._redactor = key, Redactor([key] if key else [])
        self._client = open_client(backbone, limits.concurrency + 1)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def address(self, way: Route) -> str:
        """Return where a call goes.

        Raises:
            NotServed: it is none of a format that this backbone speaks.
        """
        if way.kind != "answer" or way.format not in self.backbone.speaks:
            spoken = ", ".join(self.backbone.speaks)
            raise NotServed(Failure(404, "not_found", f"{self.name} takes generation calls alone, in its formats: {spoken}"))
        if way.format == "google" and any(part.strip(".") == "" for part in way.model.split("/")):
            raise NotServed(Failure(404, "not_found", "this is no name of a model"))
        call = Call(0, way.format, way.model, {}, way.stream, "", {})
        return url_of(base_url(self.backbone), self.backbone.upstream, call)

    @asynccontextmanager
    async def asked(self, way: Route, headers: Mapping[str, str], body: bytes) -> AsyncIterator[Passing]:
        """Send a call, once, and give its answer while the context lasts, whatever its status.

        A provider that says when to come again is believed for all calls (429).

        Raises:
            NotServed: there was no answer (502), or a redirect, which is not followed.
        """
        sent = {name: headers[name] for name in _SENT_ON if name in headers} | key_header(self.backbone.upstream, self._key)
        url = self.address(way)
        try:
            response = await self._client.send(self._client.build_request("POST", url, content=body, headers=sent), stream=True)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
            # whether it is down is for each run to find out: this status is one that runs try again
            message = f"the provider of {self.name} cannot be reached: {self._redactor.text(str(exc)) or type(exc).__name__}"
            raise NotServed(Failure(502, "upstream_broken", message)) from exc
        try:
            if response.is_redirect:
                message = f"the provider of {self.name} redirects, which is not followed: its base_url is to be corrected"
                raise NotServed(Failure(502, "upstream_broken", message))
            pieces = response.aiter_bytes()
            begun = await self._heed(way, response, pieces) if response.status_code == 429 else b""
            told = {name: self._redactor.text(response.headers[name]) for name in _TOLD if name in response.headers}
            yield Passing(response.status_code, told, self._without_key(begun, pieces))
        finally:
            with suppress(httpx.HTTPError, OSError, RuntimeError):  # whatever the connection still says, nobody listens
                await response.aclose()

    async def _heed(self, way: Route, response: httpx.Response, pieces: AsyncIterator[bytes]) -> bytes:
        """Hold back all calls for as long as a refusal says; return what was read of it."""
        data = b""
        async for piece in pieces:
            data += piece
            if len(data) >= ERROR_BODY:
                break
        after = retry_after_s(response.headers, time.time)
        if after is None:
            after = FORMATS[way.format].read_failure(response.status_code, data[:ERROR_BODY]).retry_after_s
        if after is not None:
            self.turns.hold(after)
        return data

    async def _without_key(self, begun: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        clean = self._redactor.stream()
        yield clean.feed(begun)
        async for piece in pieces:
            yield clean.feed(piece)
        yield clean.end()
