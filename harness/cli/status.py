"""``dojo status``: what runs, how far it is, why it waits."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import either
from harness.cli.interrupt import INTERRUPTED
from harness.cli.output import plain
from harness.cli.rows import batch_rows

_FINAL = ("done", "failed", "cancelled")


@click.command("status", cls=Command)
@click.argument("reference", metavar="[BATCH or RUN]", required=False, shell_complete=either)
@click.option("--watch", is_flag=True, help="Print again whenever something changes, until all runs have ended.")
@pass_invocation
def status(invocation: Invocation, reference: str | None, watch: bool) -> int:
    """Show a batch or a run (default: the newest batch): phase, time against budget, dev score so far, why it waits."""
    dojo, output = invocation.dojo(), invocation.output
    if reference is None and not dojo.store.batches():
        output.result(
            {"batch": None, "name": "", "runs": []}, lambda data, out: out.line("no batch yet; `dojo submit` starts one")
        )
        return 0
    if not watch:
        output.result(dojo.status(reference), batch_rows)
        return 0
    from harness.cli.reader import until_reader_leaves
    from harness.cli.watch import PERIOD_S, QUIET_S, watched

    live = output.terminal and not output.as_json
    try:
        with until_reader_leaves() as left:
            quiet_s = PERIOD_S if live else QUIET_S
            for value in watched(lambda: plain(dojo.status(reference)), finished, stop=left, quiet_s=quiet_s):
                if live:
                    output.write("\x1b[H\x1b[2J")  # to the top left, and clear: the clocks move in place
                output.result(value, batch_rows)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def finished(data: Any) -> bool:
    """Whether all runs have ended."""
    return all(row["state"] in _FINAL for row in data["runs"])
