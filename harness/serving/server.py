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

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

_COME_AGAIN = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

T = TypeVar("T")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# A request line with its headers; the largest that agents' programs send have some 8 kB.
_HEADERS_BYTES = 64 * 1024
# From a connection's start to its first whole request, seconds: who sends a byte a minute is sent away.
_FIRST_REQUEST_S = 30
# Connections that are taken up at once before the bound on them is looked at: each costs a file and some memory.
_BACKLOG = 64
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

    def __init__(self, app: App, socket: Path, name: str, *, connections: int = 256, idle_s: int = 600) -> None:
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
            backlog=_BACKLOG,
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


def _listen(path: Path) -> sockets.socket:
    path.unlink(missing_ok=True)
    listening = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
    listening.bind(str(path))
    os.chmod(path, 0o600)
    return listening


def _guarded(most: int, hung_up: threading.Event) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP/1.1 protocol with a bound on connections and on the time to a first request."""

    class Guarded(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            if hung_up.is_set():
                transport.abort()
                return
            if len(self.connections) >= most:
                transport.write(
                    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                transport.close()
                return
            super().connection_made(transport)
            self._deadline = self.loop.call_later(_FIRST_REQUEST_S, self._too_slow)

        def data_received(self, data: bytes) -> None:
            if self.transport is not None:
                super().data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            if self.transport is not None:
                self._deadline.cancel()
                super().connection_lost(exc)

        def _too_slow(self) -> None:
            if self.scope is None:
                self.transport.abort()

    return Guarded


def _patient(app: App) -> App:
    """Wait for a slow reader only so long."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: MutableMapping[str, Any]) -> None:
            await asyncio.wait_for(send(message), _STALLED_S)

        await app(scope, receive, sent)

    return served
