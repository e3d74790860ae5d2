"""``dojo gc``: remove what dead harness processes left behind."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.filters import Age
from harness.cli.humanise import count, size
from harness.cli.output import Output
from harness.cli.sanitise import one_line
from harness.spec.errors import DojoError

if TYPE_CHECKING:
    from harness.service import Dojo


@click.command("gc", cls=Command)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and which runs are overdue.")
@click.option("--finish", is_flag=True, help="End and grade overdue runs without asking.")
@click.option(
    "--sealed-older-than",
    type=Age(),
    metavar="AGE",
    help="Free the weights of runs that ended so long ago (30d, or a date) instead; they cannot be graded again.",
)
@pass_invocation
def gc(invocation: Invocation, dry_run: bool, finish: bool, sealed_older_than: datetime | None) -> int:
    """Remove sandboxes, mounts and half-written files whose run is over or whose process is gone.

    What can still be resumed is left alone, and so are results. Overdue runs, whose budget is over and that no process drives,
    are shown; on a terminal it asks whether to end and grade them, elsewhere --finish does it. With --sealed-older-than only the
    submitted weights of old runs go: manifest, result, grades and answers stay.
    """
    if finish and (dry_run or sealed_older_than is not None):
        raise click.UsageError(f"--finish and {'--dry-run' if dry_run else '--sealed-older-than'} exclude each other")
    dojo, output = invocation.dojo(), invocation.output
    if sealed_older_than is not None:
        freed = dojo.free_sealed(sealed_older_than, dry_run)
        output.result({"would_free" if dry_run else "freed": freed}, _render_freed)
        return 0
    late = [{**row, "state": None, "error": None} for row in dojo.overdue()]
    if late and not dry_run and (finish or _agreed(late, output)):
        late = [_finished(dojo, row, output) for row in late]
    # after the grading: a run that is over now leaves a sandbox to nobody
    data = {"would_remove" if dry_run else "removed": dojo.gc(dry_run=dry_run), "overdue": late}
    broken = [row for row in late if row["error"]]
    if broken:
        hint = f"`dojo resume` of its batch tries again, `dojo show {broken[0]['id']}` says what there is"
        output.problem(data, _render, "runs_failed", f"{count(len(broken), 'overdue run')} could not be graded", hint)
        return 4 if len(broken) < len(late) else 1
    output.result(data, _render)
    return 0


def _agreed(late: list[dict[str, Any]], output: Output) -> bool:
    if output.as_json or not sys.stdin.isatty():
        return False
    for row in late:
        output.say(f"  {row['id']}: {one_line(row['detail'])}")
    return click.confirm(f"end and grade {count(len(late), 'overdue run')} now?", err=True)


def _finished(dojo: Dojo, row: dict[str, Any], output: Output) -> dict[str, Any]:
    """Drive an overdue run to its end; one that fails does not keep the others from theirs."""
    output.say(f"{row['id']}: ending and grading")
    try:
        state = dojo.run(row["id"]).value
    except DojoError as exc:
        return {**row, "error": f"{exc.message} ({exc.hint})" if exc.hint else exc.message}
    return {**row, "state": state, "detail": "ended and graded" if state == "done" else f"ended: {state}"}


def _render_freed(data: Any, output: Output) -> None:
    verb, found = next(iter(data.items()))
    if found:
        output.table(("run", "weights>"), [(one["run"], size(one["bytes"])) for one in found])
    total = size(sum(one["bytes"] for one in found))
    output.line(f"{'would free' if verb == 'would_free' else 'freed'} {total} of {count(len(found), 'run')}")


def _render(data: Any, output: Output) -> None:
    verb, found = next(iter(data.items()))
    for late in data["overdue"]:
        output.line(f"{late['id']}: {one_line(late['error'] or late['detail'])}")
    if any(late["state"] is None and not late["error"] for late in data["overdue"]):
        output.line("`dojo gc --finish` ends and grades what is overdue")
    if not found:
        output.line("nothing is left over")
        return
    output.table(("kind", "id", "why"), [(f["kind"], f["id"], f["detail"]) for f in found], title=verb.replace("_", " "))
