"""The gateway of one run: the only way from its agent to a language model, on a unix socket."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.gateway.account import Account
from harness.gateway.app import GatewayApp
from harness.gateway.desk import KEEP_ALIVE_S, Desk, clean_emit
from harness.gateway.ledger import Ledger
from harness.gateway.prices import price_of
from harness.gateway.redact import Redactor
from harness.gateway.upstreams.base import Upstream
from harness.serving.server import UnixServer
from harness.spec.backbone import Backbone
from harness.spec.budget import Budget
from harness.spec.errors import DojoError, MissingError
from harness.spec.event import Payload

# Connections at once: agents keep one for each call that they wait for, and 64 calls at once are usual for a parallel one.
_CONNECTIONS = 256


@dataclass(frozen=True)
class GatewayContext:
    """What the gateway needs to know of a run.

    Attributes:
        backbone: the upstream and the terms.
        name: of the backbone; agents may ask for it as a model.
        upstream: what answers; closed with the gateway.
        budget: dimensions tokens, output_tokens, requests and dollars.
        ledger: folded from the run's events so far.
        emit: makes an event durable before it returns; blocks, and may be called from any thread.
        elapsed: seconds on the budget clock.
        recording: folder of the talk, made when needed for its owner alone.
        secrets: values of keys, which nobody may see.
        grants: powers at the provider that the task grants, by the names in `policy`.
        full: whether the run's events have no room for further calls.
    """

    backbone: Backbone
    name: str
    upstream: Upstream
    budget: Budget
    ledger: Ledger
    emit: Callable[[Payload], Any]
    elapsed: Callable[[], float]
    recording: Path
    secrets: tuple[str, ...] = ()
    grants: frozenset[str] = frozenset()
    full: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Pace:
    """Time and chance, which tests drive.

    Attributes:
        clock: monotonic seconds.
        sleep: waits between tries and probes.
        jitter: a number from 0 to 1.
        keep_alive_s: a waiting stream's client is sent a comment this often.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = field(default=random.random)
    keep_alive_s: float = KEEP_ALIVE_S


class GatewayServer:
    """Serves a run's calls until closed.

    Args:
        context: of the run.
        socket: where to listen.
        token: the run's; agents take it for the provider's key.
        on_error: told of what nobody foresaw.
        pace: time and chance.

    Raises:
        MissingError: dollars are limited, and nobody knows what the model costs.
    """

    def __init__(
        self,
        context: GatewayContext,
        socket: Path,
        token: str,
        on_error: Callable[[DojoError], Any],
        pace: Pace | None = None,
    ) -> None:
        prices = context.backbone.prices or price_of(context.backbone.model)
        if context.budget.dollars is not None and prices is None:
            raise MissingError(
                f"the budget limits dollars, and what {context.backbone.model or context.name} costs is not known",
                hint=f"give `prices` in [backbones.{context.name}], or limit tokens instead",
            )
        redactor = Redactor(context.secrets)
        self._account = Account(context.budget, prices, context.ledger, clean_emit(redactor, context.emit), context.full)
        self._upstream = context.upstream
        self._closed = False
        desk = Desk(context, redactor, self._account, on_error, pace or Pace())
        self._app = GatewayApp(desk, token)
        self._server = UnixServer(self._app, socket, f"gateway {context.name}", connections=_CONNECTIONS)

    @property
    def ledger(self) -> Ledger:
        """Return what is spent now."""
        return self._account.ledger

    def make_room(self, size: int) -> None:
        """From now on hold this many bytes of bodies, and of what is made of them, at a time."""
        self._app.make_room(size)

    def wait_settled(self) -> None:
        """Wait until there is no call and all are settled and recorded: an answer does not wait for its own book entry."""
        self._server.run(self._app.quiet()).result()

    def hang_up(self) -> None:
        """Drop connections without an answer from now on; calls that are upstream are broken off and settled."""
        self._server.hang_up()

    def close(self, drain_s: float = 2.0) -> None:
        """Take no further calls, let those that are upstream end for ``drain_s`` at most, settle all, and stop."""
        if self._closed:
            return
        self._closed = True
        self._server.run(self._app.close(drain_s)).result()
        self._server.run(self._upstream.close()).result()
        self._server.close(drain_s=1)
