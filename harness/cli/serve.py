"""``dojo serve``: this installation over HTTP, for many users."""

from __future__ import annotations

import click

from harness.cli.base import Command, Invocation, pass_invocation


@click.command("serve", cls=Command)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8642, show_default=True, help="0 takes any that is free.")
@click.option("--store", metavar="URL", help="Database that replicas share, as postgresql://user@host/dojo.")
@click.option("--executor", metavar="NAME", help="Where runs are driven (default: the setting `executor`, else local).")
@click.option("--parallel", type=click.IntRange(min=1), metavar="N", help="At most N runs of a batch at once here.")
@click.option("--max-upload-mb", type=click.IntRange(min=1), default=64, show_default=True, help="Of an agent's archive.")
@click.option("--max-kept-mb", type=click.IntRange(min=1), default=2048, show_default=True, help="Of a user's uploads together.")
@click.option("--connections", type=click.IntRange(min=1), default=512, show_default=True, help="Open at once.")
@pass_invocation
def serve(
    invocation: Invocation, host: str, port: int, store: str | None, executor: str | None, parallel: int | None,
    max_upload_mb: int, max_kept_mb: int, connections: int,
) -> None:  # fmt: skip
    """Serve submits, status, events, files and leaderboards under /v1, to whom `dojo tokens create` made a token.

    Standard output says the address, standard error one JSON line for each request. SIGTERM drains: nothing new is taken, what
    runs is left resumable, and another replica over the same database and results directory goes on with it (docs/serve.md).
    """
    from harness.extras import require

    require("fastapi", "prometheus_client")
    from harness.web.serve import serve as run
    from harness.web.site import Limits, Site

    invocation.flags["database"] = store
    settings = invocation.config(executor=executor, parallel=parallel).settings
    megabyte = 1024 * 1024
    limits = Limits(upload_bytes=max_upload_mb * megabyte, kept_bytes=max_kept_mb * megabyte, connections=connections)
    site = Site(invocation.dojo(), settings.executor, limits)
    run(site, host, port, settings.parallel, invocation.output.line)
