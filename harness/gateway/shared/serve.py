"""Running one replica of a gateway that many runs share."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping

from harness.gateway.backbones import key_of
from harness.gateway.shared.app import SharedGateway
from harness.gateway.shared.provider import Provider
from harness.gateway.upstreams.http import SHARED_TOKEN
from harness.serving.log import log
from harness.serving.tcp import DrainingServer, address, config_of, listen
from harness.spec.backbone import Backbone
from harness.spec.broken import Broken
from harness.spec.errors import MissingError, UsageError

# An answer may go on for so long after SIGTERM.
_DRAIN_S = 120
_CONNECTIONS = 4096
_SHORTEST = 16
_PAGE = "docs/backbones.md, One gateway for many runs"


def serve(
    backbones: Mapping[str, Backbone | Broken], environ: Mapping[str, str], host: str, port: int, told: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT: then take nothing more, let answers end, and return.

    Args:
        backbones: of dojo.toml; those with ``shared`` are served.
        environ: holds the providers' keys and the gateway's token.
        host: address to listen at.
        port: 0 takes any that is free.
        told: hears the address once it listens.

    Raises:
        MissingError: a key or the token is not set.
        UsageError: the token is too short, no backbone is shared, or nothing can listen there.
        SpecError: a backbone of dojo.toml is broken.
    """
    token, shared = token_of(environ), shared_of(backbones, environ)
    listening = listen(host, port)
    told(address(listening))
    run(shared, token, listening, threading.Event())
    log({"event": "drained"})


def run(shared: list[Provider], token: str, listening: socket.socket, draining: threading.Event) -> None:
    """Serve at a socket until a signal comes or ``draining`` is set, and let answers end."""
    _Server(SharedGateway(shared, token, draining), draining).run(sockets=[listening])


def token_of(environ: Mapping[str, str]) -> str:
    """Return the gateway's own token.

    Raises:
        MissingError: it is not set.
        UsageError: anybody could guess it.
    """
    token = environ.get(SHARED_TOKEN, "").strip()
    draw = f"export {SHARED_TOKEN}=$(openssl rand -hex 24), and the same where runs are driven; {_PAGE}"
    if not token:
        raise MissingError(f"the gateway's own token is not here: {SHARED_TOKEN} is not set", hint=draw)
    if len(token) < _SHORTEST:
        raise UsageError(f"{SHARED_TOKEN} has fewer than {_SHORTEST} characters", hint=draw)
    return token


def shared_of(backbones: Mapping[str, Backbone | Broken], environ: Mapping[str, str]) -> list[Provider]:
    """Return the backbones that are shared, with their keys.

    Raises:
        MissingError: a key is not set.
        UsageError: there is none, or one that is no endpoint over HTTP or has a name that no address can hold.
        SpecError: one is broken.
    """
    found = []
    for name, backbone in backbones.items():
        if isinstance(backbone, Broken):
            raise backbone.error
        if backbone.shared is None:
            continue
        if backbone.upstream not in ("openai", "anthropic", "google"):
            raise UsageError(
                f"[backbones.{name}] is shared, and {backbone.upstream} is no endpoint", hint="take `shared` out of it"
            )
        if "/" in name:
            raise UsageError(f"[backbones.{name!r}] is shared, and its name cannot stand in an address", hint="name it without /")
        found.append(Provider(name, backbone, key_of(backbone, environ)))
    if not found:
        hint = f"write shared = {{ concurrency = 64 }} into each [backbones.NAME] that this gateway is to serve; {_PAGE}"
        raise UsageError("no backbone of dojo.toml is shared", hint=hint)
    return found


class _Server(DrainingServer):
    def __init__(self, app: SharedGateway, draining: threading.Event) -> None:
        super().__init__(config_of(app, _CONNECTIONS, _DRAIN_S), draining)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.drain()
        await super().shutdown(sockets)
        await self._app.close()
