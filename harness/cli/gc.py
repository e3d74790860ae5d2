"""``dojo gc``: remove what dead harness processes left behind."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.filters import Age
from harness.cli.humanise import count, size
from harness.cli.output import Output
from harness.cli.sanitise import one_line


@click.command("gc", cls=Command)
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
@click.option(
    "--sealed-older-than",
    type=Age(),
    metavar="AGE",
    help="Free the weights of runs that ended so long ago (30d, or a date) instead; they cannot be graded again.",
)
@pass_invocation
def gc(invocation: Invocation, dry_run: bool, sealed_older_than: datetime | None) -> None:
    """Remove sandboxes, mounts and half-written files whose run is over or whose process is gone.

    What can still be resumed is left alone, and so are results. With --sealed-older-than only the submitted weights of old runs
    go: manifest, result, grades and answers stay.
    """
    dojo = invocation.dojo()
    if sealed_older_than is not None:
        freed = dojo.free_sealed(sealed_older_than, dry_run)
        invocation.output.result({"would_free" if dry_run else "freed": freed}, _render_freed)
        return
    found = {"would_remove" if dry_run else "removed": dojo.gc(dry_run=dry_run), "overdue": dojo.overdue()}
    invocation.output.result(found, _render)


def _render_freed(data: Any, output: Output) -> None:
    verb, found = next(iter(data.items()))
    if found:
        output.table(("run", "weights>"), [(one["run"], size(one["bytes"])) for one in found])
    total = size(sum(one["bytes"] for one in found))
    output.line(f"{'would free' if verb == 'would_free' else 'freed'} {total} of {count(len(found), 'run')}")


def _render(data: Any, output: Output) -> None:
    verb, found = next(iter(data.items()))
    for late in data["overdue"]:
        output.line(f"{late['id']}: {one_line(late['detail'])}")
    if not found:
        output.line("nothing is left over")
        return
    output.table(("kind", "id", "why"), [(f["kind"], f["id"], f["detail"]) for f in found], title=verb.replace("_", " "))
