"""``dojo resume``: go on with a batch after a stop, a crash or a reboot."""

from __future__ import annotations

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import batches


@click.command("resume", cls=Command)
@click.argument("batch", required=False, shell_complete=batches)
@click.option("--parallel", type=click.IntRange(min=1), metavar="N", help="At most N runs at once (default: what fits).")
@pass_invocation
def resume(invocation: Invocation, batch: str | None, parallel: int | None) -> int:
    """Go on with every run of a batch that has not ended (default: the newest batch)."""
    from harness.cli.batch import drive
    from harness.cli.progress import rows_of_status

    settings = invocation.config(parallel=parallel).settings
    dojo = invocation.dojo()
    before = dojo.status(batch)
    return drive(
        dojo,
        invocation.output,
        before.batch,
        rows_of_status(before),
        lambda on_event, stop: dojo.resume(before.batch, parallel=settings.parallel, on_event=on_event, stop=stop),
    )
