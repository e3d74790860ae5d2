"""Running one replica: uvicorn, the driver, and a way to end that loses nothing."""

from __future__ import annotations

import socket
from collections.abc import Callable

from harness.serving.log import log
from harness.serving.tcp import DrainingServer, address, config_of, listen
from harness.web.app import create_app
from harness.web.driving import Driver
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
    listening = listen(host, port)
    site.dojo.accounts.record("local", "", "serve", f"{socket.gethostname()}")  # makes the database, or brings it up
    config = config_of(create_app(site), site.limits.connections, _DRAIN_S)
    driver = Driver(site, parallel)
    driver.start()
    told(address(listening))
    try:
        DrainingServer(config, site.draining, site.wake.set).run(sockets=[listening])
    finally:
        site.draining.set()
        driver.wait()
        site.dojo.store.close()
        log({"event": "drained"})
