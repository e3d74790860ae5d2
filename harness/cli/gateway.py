"""``dojo gateway``: one way to providers for many runs."""

from __future__ import annotations

import os

import click

from harness.cli.base import Command, Invocation, LazyGroup, pass_invocation
from harness.cli.commands import GATEWAY


@click.group(cls=LazyGroup, table=GATEWAY)
def gateway() -> None:
    """One gateway between many runs and the providers of their backbones."""


@click.command("serve", cls=Command)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8643, show_default=True, help="0 takes any that is free.")
@pass_invocation
def serve(invocation: Invocation, host: str, port: int) -> None:
    """Pass runs' calls on to the backbones of dojo.toml that have `shared`, with their keys and within limits for all together.

    Runs reach them at http://HOST:PORT/NAME with the token in DOJO_GATEWAY_TOKEN (docs/backbones.md). Standard output says the
    address, standard error one JSON line for each request. SIGTERM drains.
    """
    from harness.extras import require

    require("prometheus_client")
    from harness.gateway.shared.serve import serve as run

    config = invocation.config()
    run({**config.settings.backbones, **config.broken}, os.environ, host, port, invocation.output.line)
