"""A server on a unix socket for the agent of one run: uvicorn in a thread of its own, made to bear hostile clients."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket as sockets
import threading
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

_COME_AGAIN = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_NO_HTTP = b'{"error": {"code": "usage", "message": "this is no HTTP/1.1 request that is taken here", "hint": ""}}'

T = TypeVar("T")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# A request line with its headers; the largest that agents' programs send have some 8 kB and 30 lines. Every line costs some 400
# bytes here while its request waits.
_HEADERS_BYTES = 32 * 1024
_HEADERS = 200
# Read from a connection at a time: what it sends before its turn has come is held for it.
_READ_BYTES = 32 * 1024
# Kept of a body that nobody has asked for yet (uvicorn's own bound is 64 KiB).
_BODY_BYTES = 8 * 1024
# From a request's first byte (or the connection's start) to the end of its headers, seconds.
_HEADERS_S = 30
# How long what still comes is thrown away after a request that is no HTTP, so that the answer to it arrives, seconds.
_LINGER_S = 5
# How long an answer may stand still because its reader does not read, seconds.
_STALLED_S = 120


class UnixServer:
    """Serves an ASGI app on ``socket`` until closed. The socket file is made anew at every start, for its owner alone.

    Args:
        app: the application; called in this server's own event loop.
        socket: path of the unix socket.
        name: of the thread.
        connections: open at once at most; a further one is told to come again (503) and closed.
        idle_s: how long a connection may wait for its next request.
    """

    def __init__(self, app: App, socket: Path, name: str, *, connections: int = 128, idle_s: int = 600) -> None:
        self._hung_up = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket = _listen(socket)
        logging.getLogger("uvicorn.error").addHandler(logging.NullHandler())
        config = uvicorn.Config(
            _patient(app),
            http=_guarded(connections, self._hung_up),
            loop="asyncio",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=idle_s,
            timeout_graceful_shutdown=10,
            h11_max_incomplete_event_size=_HEADERS_BYTES,
        )
        self._server = uvicorn.Server(config)
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()
        self._started.wait()

    def run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run something in the server's event loop."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def hang_up(self) -> None:
        """From now on drop connections without an answer: whoever resumes the run will answer when calls are sent again."""
        self._hung_up.set()
        if self._loop is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                self._loop.call_soon_threadsafe(self._drop_all)

    def close(self, drain_s: float = 10) -> None:
        """Accept nothing more, let what is being answered end for ``drain_s`` at most, and stop."""
        self._server.config.timeout_graceful_shutdown = max(1, round(drain_s))
        self._server.should_exit = True
        self._thread.join(drain_s + 10)

    def _serve(self) -> None:
        with contextlib.closing(self._socket):
            asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._started.set)
        await self._server.serve(sockets=[self._socket])

    def _drop_all(self) -> None:
        for connection in list(self._server.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()


async def hung_up(receive: Receive) -> None:
    """Return when the client has hung up; its body has to be read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _listen(path: Path) -> sockets.socket:
    path.unlink(missing_ok=True)
    listening = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
    listening.bind(str(path))
    os.chmod(path, 0o600)
    return listening


def _guarded(most: int, hung_up: threading.Event) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP/1.1 protocol with a bound on connections, on what each holds, and on the time headers take."""

    class Guarded(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None
        _deaf = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            if hung_up.is_set():
                transport.abort()
                return
            if len(self.connections) >= most:
                transport.write(_COME_AGAIN)
                transport.close()
                return
            transport.max_size = _READ_BYTES  # type: ignore[attr-defined]  # asyncio's default, 256 KiB, is made for few friendly connections
            super().connection_made(transport)
            self._watch(waiting=True)

        def data_received(self, data: bytes) -> None:
            if self.transport is None or self._deaf:
                return
            try:
                super().data_received(data)
            except h11.LocalProtocolError:  # nonsense after the answer to it had begun
                self.transport.abort()
                return
            if self.cycle is not None and len(self.cycle.body) >= _BODY_BYTES:
                self.flow.pause_reading()  # it goes on when the body is asked for
            self._watch(waiting=self._between() and bool(self.conn.trailing_data[0]))

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch(waiting=self._between() and bool(self.conn.trailing_data[0]))

        def send_400_response(self, msg: str) -> None:
            if not self._between():
                self.transport.abort()
                return
            self._deaf = True
            head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(_NO_HTTP)}\r\n"
            self.transport.write(head.encode() + b"Connection: close\r\n\r\n" + _NO_HTTP)
            self.transport.write_eof()
            self.loop.call_later(_LINGER_S, self.transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            if self.transport is not None:
                self._watch(waiting=False)
                super().connection_lost(exc)

        def _between(self) -> bool:
            """Whether no request is being answered."""
            return self.cycle is None or self.cycle.response_complete

        def _watch(self, *, waiting: bool) -> None:
            """Start the time for headers, once, while they are waited for."""
            if self._deadline is not None and not waiting:
                self._deadline.cancel()
                self._deadline = None
            elif self._deadline is None and waiting:
                self._deadline = self.loop.call_later(_HEADERS_S, self.transport.abort)

    return Guarded


def _patient(app: App) -> App:
    """Wait for a slow reader only so long, and keep requests of very many headers from waiting for anything."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        if len(scope["headers"]) > _HEADERS:
            length = [(b"content-length", b"0"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 431, "headers": length})
            await send({"type": "http.response.body", "body": b""})
            return

        async def sent(message: MutableMapping[str, Any]) -> None:
            async with asyncio.timeout(_STALLED_S):
                await send(message)

        await app(scope, receive, sent)

    return served
