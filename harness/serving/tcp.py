"""A server on a TCP port, which ends without losing what it is answering."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from harness.spec.errors import UsageError


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes any that is free.

    Raises:
        UsageError: nothing can listen there.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        made = socket.socket(family, kind, protocol)  # asyncio sends small pieces at once only where TCP is named
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(where)
        made.listen(256)
    except OSError as exc:
        raise UsageError(
            f"nothing can listen at {host}:{port}: {exc.strerror or exc}", hint="name another --host or --port"
        ) from exc
    return made


def address(listening: socket.socket) -> str:
    """Return where a listening socket is reached, as ``http://127.0.0.1:8642``."""
    host, port = listening.getsockname()[:2]
    return f"http://{'[' + host + ']' if ':' in host else host}:{port}"


def config_of(app: Any, connections: int, drain_s: int) -> uvicorn.Config:
    """Return how ``app`` is served: quietly, with bounds, and with ``drain_s`` seconds for what is being answered at the end."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    return uvicorn.Config(
        app,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=connections,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=drain_s,
        h11_max_incomplete_event_size=32 * 1024,
    )


class DrainingServer(uvicorn.Server):
    """Serves until SIGTERM, SIGINT or ``draining`` is set; a second signal does not wait for what is being answered.

    Args:
        config: see `config_of`.
        draining: set when it ends.
        told: called at a signal, beside.
    """

    def __init__(self, config: uvicorn.Config, draining: threading.Event, told: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._draining, self._told = draining, told

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end. uvicorn's own would raise the signal again once it has stopped, before its caller has cleaned up."""
        self.force_exit = self._draining.is_set()
        self._draining.set()
        self._told()

    async def on_tick(self, counter: int) -> bool:
        """Say whether to stop."""
        return self._draining.is_set() or await super().on_tick(counter)
