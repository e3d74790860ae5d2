"""Running one replica: uvicorn, the driver, and a way to end that loses nothing."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from harness.spec.errors import UsageError
from harness.web.app import create_app
from harness.web.driving import Driver
from harness.web.gate import log
from harness.web.site import Site

# What is being answered may go on for so long after SIGTERM; streams of events end at once.
_DRAIN_S = 20


def serve(site: Site, host: str, port: int, parallel: int | None, told: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT: then take nothing more, leave what runs resumable, and return.

    Args:
        site: the replica.
        host: address to listen at.
        port: 0 takes any that is free.
        parallel: at most so many runs of a batch at once here.
        told: hears the address once it listens.

    Raises:
        UsageError: nothing can listen there.
    """
    listening = _listen(host, port)
    site.dojo.accounts.record("local", "", "serve", f"{socket.gethostname()}")  # makes the database, or brings it up
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    config = uvicorn.Config(
        create_app(site),
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=site.limits.connections,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_DRAIN_S,
        h11_max_incomplete_event_size=32 * 1024,
    )
    driver = Driver(site, parallel)
    driver.start()
    where = listening.getsockname()
    told(f"http://{'[' + where[0] + ']' if ':' in where[0] else where[0]}:{where[1]}")
    try:
        _Server(config, site).run(sockets=[listening])
    finally:
        site.draining.set()
        driver.wait()
        site.dojo.store.close()
        log({"event": "drained"})


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, site: Site) -> None:
        super().__init__(config)
        self._site = site

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn's own would raise the signal again once it has stopped, before the runs here were left resumable
        self.force_exit = self._site.draining.is_set()
        self._site.draining.set()
        self._site.wake.set()

    async def on_tick(self, counter: int) -> bool:
        return self._site.draining.is_set() or await super().on_tick(counter)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        made = socket.socket(family, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(where)
        made.listen(256)
    except OSError as exc:
        raise UsageError(
            f"nothing can listen at {host}:{port}: {exc.strerror or exc}", hint="name another --host or --port"
        ) from exc
    return made
