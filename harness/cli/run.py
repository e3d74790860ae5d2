"""``dojo run``: drive one recorded run to its end in this process; what a job of a cluster executes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import runs
from harness.cli.interrupt import INTERRUPTED, Interrupt, goes_on
from harness.cli.output import Output, plain


@click.command("run", cls=Command)
@click.argument("run", shell_complete=runs)
@click.option("--take-over", is_flag=True, help="Wait for a run that another process drives until its lease has run out.")
@pass_invocation
def run(invocation: Invocation, run: str, take_over: bool) -> int:
    """Drive one run that `submit` has recorded, from wherever it stands to its end.

    `submit` and `resume` do this themselves; a job of a cluster calls it. A run that another process drives is refused (code
    busy, exit code 1); one that has ended is left alone.
    """
    from harness.cli.progress import Progress, rows_of_status
    from harness.cli.rows import exit_code

    dojo, output = invocation.dojo(), invocation.output
    before = dojo.status(dojo.store.resolve(run, "run"))
    interrupt = Interrupt()
    moved = lambda rows: interrupt.prepare(goes_on(rows, before.batch, datetime.now(UTC)))  # noqa: E731
    progress = Progress(rows_of_status(before), output, moved=moved)
    with interrupt, progress:
        state = dojo.run(before.runs[0].id, progress.on_event, interrupt.stop, take_over=take_over)
    status = dojo.status(before.runs[0].id)
    data = plain(status.runs[0])
    if not state.final:
        go_on = f"go on with `dojo run {data['id']}` or `dojo resume {data['batch']}`"
        output.problem(data, _render, "interrupted", "interrupted; the run is left resumable", go_on)
        return INTERRUPTED
    code = exit_code([data])
    if code:
        output.problem(data, _render, "runs_failed", data["why"], f"`dojo show {data['id']}` says more")
        return code
    output.result(data, _render)
    return 0


def _render(data: Any, output: Output) -> None:
    output.line(f"{data['id']}: {data['state']}" + (f", score {data['score']:.3f}" if data["score"] is not None else ""))
