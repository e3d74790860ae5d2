"""``dojo gc``: remove what dead harness processes left behind."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.output import Output


@click.command("gc", cls=Command)
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
@pass_invocation
def gc(invocation: Invocation, dry_run: bool) -> None:
    """Remove sandboxes, mounts and half-written files whose run is over or whose process is gone.

    What can still be resumed is left alone, and so are results.
    """
    found = invocation.dojo().gc(dry_run=dry_run)
    invocation.output.result({"would_remove" if dry_run else "removed": found}, _render)


def _render(data: Any, output: Output) -> None:
    verb, found = next(iter(data.items()))
    if not found:
        output.line("nothing is left over")
        return
    output.table(("kind", "id", "why"), [(f["kind"], f["id"], f["detail"]) for f in found], title=verb.replace("_", " "))
