"""Driving a batch in this process with progress, Ctrl-C and an ending: shared by submit and resume."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.humanise import count
from harness.cli.interrupt import INTERRUPTED, Interrupt, clock, ending, goes_on
from harness.cli.leaderboard import render as render_leaderboard
from harness.cli.output import Output, plain
from harness.cli.progress import Progress, Row
from harness.cli.rows import batch_rows, cause, exit_code, failed
from harness.cli.sanitise import one_line
from harness.spec import environment
from harness.spec.errors import DojoError

if TYPE_CHECKING:
    from harness.service import BatchStatus, Dojo
    from harness.store.run_dir import EventListener

Run = Callable[["EventListener", threading.Event], "BatchStatus"]


def drive(dojo: Dojo, output: Output, batch: str, rows: Sequence[Row], run: Run) -> int:
    """Run a batch to its end or to Ctrl-C, print how it stands and the leaderboard, and return the exit code."""
    output.say(f"batch {batch}: {count(len(rows), 'run')}")
    broken: DojoError | None = None
    remote = not hasattr(dojo, "home")
    interrupt = Interrupt()
    progress = Progress(
        rows,
        output,
        moved=lambda now: interrupt.prepare(
            "The runs go on at the service." if remote else goes_on(now, batch, datetime.now(UTC))
        ),
    )
    with interrupt, progress:
        try:
            status = run(progress.on_event, interrupt.stop)
        except DojoError as exc:
            if remote or not (dojo.home / "batches" / batch).is_dir():
                raise  # nothing was started, or the service is gone: what was started goes on there
            broken, status = exc, dojo.status(batch)
    data = plain(status)
    open_runs = [row["id"] for row in data["runs"] if row["state"] not in ("done", "failed", "cancelled")]
    data["leaderboard"] = None if open_runs else _leaderboard(dojo, output, batch)
    data["folder"] = None if remote else _short(dojo.home / "batches" / batch / "runs")
    go_on = f"it goes on at the service; `dojo status {batch} --watch`" if remote else f"go on with `dojo resume {batch}`"
    if interrupt.stop.is_set() and open_runs:
        if not remote and (ends := ending(progress.rows())):
            until = clock(max(ends.values()), datetime.now(UTC))
            go_on += f"; {count(len(ends), 'agent')} may work until {until}, `dojo cancel {batch}` stops them now"
        output.problem(data, _render, "interrupted", f"interrupted with {count(len(open_runs), 'run')} to go", go_on)
        return INTERRUPTED
    if broken:
        output.problem(data, _render, broken.code, broken.message, f"{broken.hint}; then {go_on}" if broken.hint else go_on)
        return environment.exit_code(broken) if len(open_runs) == len(data["runs"]) else 4
    code = exit_code(data["runs"])
    if code:
        bad = [row for row in data["runs"] if failed(row)]
        message = f"{len(bad)} of {len(data['runs'])} runs failed for a reason that is not the agent's: {bad[0]['why']}"
        regrade = [row for row in bad if cause(row) == "grader"]
        again = f"`dojo grade {regrade[0]['id']} --again` scores what was handed in" if regrade else "submit them again"
        output.problem(data, _render, "runs_failed", message, f"`dojo show {bad[0]['id']}` says more; {again}")
        return code
    output.result(data, _render)
    return 0


def _leaderboard(dojo: Dojo, output: Output, batch: str) -> Any:
    try:
        return plain(dojo.leaderboard(batch=batch))
    except DojoError as exc:
        output.say(f"warning: no leaderboard: {one_line(exc.message)} ({one_line(exc.hint)})")
        return None


def _render(data: Any, output: Output) -> None:
    batch_rows(data, output)
    if data["leaderboard"] and data["leaderboard"]["rows"]:
        output.line()
        render_leaderboard(data["leaderboard"], output)
    output.line()
    if data["folder"]:
        output.line(f"run folders: {data['folder']}")


def _short(path: Path) -> str:
    """Return the path relative to the working directory where it lies below it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
