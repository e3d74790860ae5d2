"""Endpoints over HTTP: OpenAI's and whatever is compatible with it (vLLM too), Anthropic's, Google's."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import httpx

from harness import __version__
from harness.gateway.formats import FORMATS
from harness.gateway.upstreams.asking import small_call, whole
from harness.gateway.upstreams.base import Answer, Call, UpstreamFailed, kind_of
from harness.spec.backbone import Backbone, FormatName

BASES = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
}
"""Where the providers' own endpoints are, as their clients have them."""

SHARED_TOKEN = "DOJO_GATEWAY_TOKEN"
"""Variable with the token of a gateway that many runs share; a backbone with this ``key`` is at such a gateway."""

CLIENT_HEADER = "x-dojo-client"
"""Tells such a gateway, and nobody else, which calls are of one run: a number drawn anew by each process."""

_CONNECT_S = 10.0
_PROBE_S = 30.0
"""A provider that needs longer for sixteen tokens is down for an agent as well."""

ERROR_BODY = 64 << 10
"""Bytes of an error that are read: enough for any message, too little to fill memory with."""

_WAIT_AT_MOST_S = 24 * 3600.0
KEPT_HEADERS = ("content-type", "request-id", "x-request-id", "openai-processing-ms", "openai-version")
"""Of an endpoint's answer, what goes on to who asked."""


class HttpUpstream:
    """One run's connections to an endpoint.

    Redirects are not followed: they would carry key and prompts to an address that nobody configured. Proxies and certificates
    are taken from the environment's usual variables (``HTTPS_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE``); to this machine itself
    there is never a proxy.

    Args:
        backbone: says address, model, timeouts.
        key: of the account; None: the endpoint wants none.
        transport: what carries requests; default real connections.
    """

    def __init__(self, backbone: Backbone, key: str | None, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._backbone, self._key = backbone, key
        self._base = base_url(backbone)
        self._client = open_client(backbone, backbone.concurrency + 1, transport)
        if backbone.key == SHARED_TOKEN:
            self._client.headers[CLIENT_HEADER] = secrets.token_hex(8)

    async def send(self, call: Call) -> Answer:
        """Send a call; see `Upstream.send`."""
        return await self._send(call, self._backbone.timeout_s)

    async def probe(self) -> None:
        """Ask for a few tokens in the endpoint's first format; see `Upstream.probe`."""
        call = small_call(self._backbone.speaks[0], self._backbone.model)
        await whole(await self._send(call, min(_PROBE_S, self._backbone.timeout_s)))

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _send(self, call: Call, timeout_s: float) -> Answer:
        deadline = asyncio.get_running_loop().time() + timeout_s
        url, content = url_of(self._base, self._backbone.upstream, call), json.dumps(call.body, separators=(",", ":")).encode()
        try:
            request = self._client.build_request("POST", url, content=content, headers=self._headers(call))
            async with asyncio.timeout_at(deadline):
                response = await self._client.send(request, stream=True)
        except (TimeoutError, httpx.TimeoutException) as exc:
            raise UpstreamFailed("broken", f"no answer from {self._base} within {timeout_s:g} s") from exc
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
            raise UpstreamFailed("broken", f"{self._base} cannot be reached: {_reason(exc)}") from exc
        body = _Body(response, deadline, f"the answer of {self._base}")
        if response.is_success:
            return Answer(body, {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers})
        raise await self._failure(call.format, response, body)

    def _headers(self, call: Call) -> dict[str, str]:
        headers = {"content-type": "application/json", "accept": "text/event-stream" if call.stream else "application/json"}
        if call.format == "messages":
            meant = {name.lower(): value for name, value in call.headers.items()}
            headers["anthropic-version"] = meant.get("anthropic-version", "2023-06-01")
            if meant.get("anthropic-beta"):
                headers["anthropic-beta"] = meant["anthropic-beta"]
        return headers | key_header(self._backbone.upstream, self._key)

    async def _failure(self, format: FormatName, response: httpx.Response, body: _Body) -> UpstreamFailed:
        data = bytearray()
        try:
            async for piece in body:
                data += piece
                if len(data) >= ERROR_BODY:
                    break
        except UpstreamFailed:  # an error that breaks off is still that error
            pass
        finally:
            await body.aclose()
        status, told = response.status_code, bytes(data[:ERROR_BODY])
        if response.is_redirect:
            aim = httpx.URL(response.headers.get("location", "")).copy_with(query=None, fragment=None)
            message = f"{self._base} redirects to {aim}, which is not followed: name the right base_url"
            return UpstreamFailed("broken", message, status=status, body=told)
        failure = FORMATS[format].read_failure(status, told)
        after = retry_after_s(response.headers, time.time)
        return UpstreamFailed(
            kind_of(status, failure.code),
            f"{self._base} answered {status}: {failure.message}",
            status=status,
            body=told,
            retry_after_s=failure.retry_after_s if after is None else after,
        )


class _Body:
    """An answer's bytes as they come. Closing it, even unread, gives the connection up: that tells the server to stop."""

    def __init__(self, response: httpx.Response, deadline: float, whose: str) -> None:
        self._response, self._deadline, self._whose = response, deadline, whose
        self._pieces = response.aiter_bytes()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            async with asyncio.timeout_at(self._deadline):
                return await anext(self._pieces)
        except (TimeoutError, httpx.TimeoutException) as exc:
            await self.aclose()
            raise UpstreamFailed("broken", f"{self._whose} did not end in time") from exc
        except (httpx.HTTPError, httpx.StreamError, OSError) as exc:
            await self.aclose()
            raise UpstreamFailed("broken", f"{self._whose} broke off: {_reason(exc)}") from exc

    async def aclose(self) -> None:
        with suppress(httpx.HTTPError, OSError, RuntimeError):  # whatever the connection still says, nobody listens
            await self._pieces.aclose()  # type: ignore[attr-defined]
        await self._response.aclose()


def open_client(backbone: Backbone, connections: int, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Return a client for an endpoint with so many connections; see `HttpUpstream` for what it follows and trusts."""
    return httpx.AsyncClient(
        transport=transport,
        # an idle connection of mine may be closed by the server at any time: keep few, and not for long
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=8, keepalive_expiry=15),
        timeout=httpx.Timeout(backbone.timeout_s, connect=min(_CONNECT_S, backbone.timeout_s)),
        headers={"user-agent": f"dojo/{__version__}", "accept-encoding": "identity"},
        follow_redirects=False,
        mounts={f"all://{host}": None for host in ("127.0.0.1", "localhost", "[::1]")},
    )


def key_header(upstream: str, key: str | None) -> dict[str, str]:
    """Return the header that carries a key to an endpoint, none without one."""
    if not key:
        return {}
    match upstream:
        case "anthropic":
            return {"x-api-key": key}
        case "google":
            return {"x-goog-api-key": key}
        case _:
            return {"authorization": f"Bearer {key}"}


def base_url(backbone: Backbone) -> str:
    """Return the address of the endpoint, without a slash at its end."""
    return (backbone.base_url or BASES[backbone.upstream]).rstrip("/")


def url_of(base: str, upstream: str, call: Call) -> str:
    """Return where a call goes. A base may name the version (``…/v1``) or leave it out, as the providers' own clients differ."""
    match call.format:
        case "google":
            model = quote(call.model.removeprefix("models/"), safe="-._~/")
            versioned = base if base.rsplit("/", 1)[-1] in ("v1", "v1beta", "v1alpha") else f"{base}/v1beta"
            return f"{versioned}/models/{model}:" + ("streamGenerateContent?alt=sse" if call.stream else "generateContent")
        case "messages":
            return f"{base}/messages" if base.endswith("/v1") or upstream == "openai" else f"{base}/v1/messages"
        case "responses":
            return f"{base}/responses"
        case _:
            return f"{base}/chat/completions"


def retry_after_s(headers: Mapping[str, str], now: Callable[[], float]) -> float | None:
    """Return how long an answer asks to wait: milliseconds, seconds or a date; None where it does not say, or makes no sense."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        said = headers.get(name, "").strip()
        if not said:
            continue
        try:
            seconds = float(said) * scale
        except ValueError:
            try:
                seconds = parsedate_to_datetime(said).timestamp() - now()
            except (ValueError, OverflowError):
                continue
        if math.isfinite(seconds):
            return min(max(0.0, seconds), _WAIT_AT_MOST_S)
    return None


def _reason(exc: Exception) -> str:
    return str(exc) or type(exc).__name__
