"""What is going on in a batch, from the events of its runs: a live display on a terminal, lines elsewhere. On standard error."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from harness.cli.humanise import duration
from harness.cli.output import Output, colours
from harness.cli.sanitise import one_line
from harness.session.status import describe
from harness.spec.event import Attached, ClockStarted, ClockStopped, Entered, Evaluated, Event, EventKind, Graded
from harness.spec.outcome import RunState

if TYPE_CHECKING:
    from rich.table import Table

    from harness.executor.planner import BatchPlan
    from harness.service import BatchStatus

# Half of the minute that is promised, so that a busy machine keeps the promise too.
QUIET_S = 30.0
_SPOKEN = {
    EventKind.STATE, EventKind.EVALUATE, EventKind.SUBMIT, EventKind.BUDGET_WARNING, EventKind.BUDGET_EXHAUSTED, EventKind.GRADED,
    EventKind.INTEGRITY, EventKind.ERROR, EventKind.OUTCOME,
}  # fmt: skip
_BAR = 12


@dataclass(frozen=True)
class Row:
    """One run as the display knows it; times in seconds."""

    id: str
    name: str
    wall: float
    state: str = "queued"
    started: datetime | None = None
    elapsed: float = 0.0
    last: str = ""
    dev: float | None = None
    evaluations: int = 0
    score: float | None = None

    def seconds(self, now: datetime) -> float:
        """Return the time spent of the budget."""
        return self.elapsed if self.started is None else max(self.elapsed, (now - self.started).total_seconds())


def advance(row: Row, event: Event) -> Row:
    """Return the row after ``event``."""
    row = replace(row, elapsed=max(row.elapsed, event.elapsed_s), last=one_line(describe(event), 120))
    match event.data:
        case Entered(state=RunState.QUEUED):  # another attempt: everything of the agent starts anew
            return Row(row.id, row.name, row.wall, last=row.last)
        case Entered(state=state):
            return replace(row, state=state.value)
        case Attached() if row.state == "running":
            return replace(row, started=event.time - timedelta(seconds=row.elapsed))
        case ClockStarted():
            return replace(row, started=event.time, elapsed=0.0)
        case ClockStopped():
            return replace(row, started=None)
        case Evaluated(feedback=feedback):
            value = feedback.scores.primary.value
            return replace(row, dev=value if row.dev is None else max(row.dev, value), evaluations=row.evaluations + 1)
        case Graded(scores=scores):
            return replace(row, score=scores.primary.value)
        case _:
            return row


def rows_of_plan(plan: BatchPlan) -> list[Row]:
    """Return the rows of a batch that has not started."""
    return [Row(run.id, f"{run.shown} {run.task.id} seed {run.seed}", run.budget.wall) for run in plan.runs]


def rows_of_status(status: BatchStatus) -> list[Row]:
    """Return the rows of a batch that is being resumed. An agent that works has done so all along."""
    now = datetime.now(UTC)
    return [
        Row(
            run.id,
            f"{run.shown} {run.task} seed {run.seed}",
            (run.budget["wall"].limit or 0.0) if "wall" in run.budget else 0.0,
            state=run.state.value,
            started=now - timedelta(seconds=run.elapsed_s) if run.state is RunState.RUNNING and run.elapsed_s else None,
            elapsed=run.elapsed_s,
            dev=run.dev_score,
            evaluations=run.evaluations,
            score=run.score,
        )
        for run in status.runs
    ]


class Progress:
    """A context in which `on_event`, called from any thread, keeps people informed."""

    def __init__(
        self, rows: Iterable[Row], output: Output, *, quiet_s: float = QUIET_S, moved: Callable[[list[Row]], None] | None = None
    ) -> None:
        """Take what to show; ``moved`` hears the rows at the start and whenever an agent starts or ends."""
        self._rows = {row.id: row for row in rows}
        self._moved = moved or (lambda rows: None)
        self._moved(self.rows())
        self._output, self._quiet_s = output, quiet_s
        self._lock = threading.Lock()
        self._spoke, self._over = threading.Event(), threading.Event()
        self._live = colours(sys.stderr)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._live:
            from rich.console import Console
            from rich.live import Live

            live = Live(get_renderable=self.table, console=Console(stderr=True), refresh_per_second=4, transient=True)
            self._stack.enter_context(live)
        else:
            heart = threading.Thread(target=self._beat, daemon=True, name="progress")
            heart.start()
            self._stack.callback(heart.join)
            self._stack.callback(self._spoke.set)
            self._stack.callback(self._over.set)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def on_event(self, run: str, event: Event) -> None:
        """Take in one event of a run."""
        with self._lock:
            if run not in self._rows:
                return
            before = self._rows[run]
            row = self._rows[run] = advance(before, event)
            if (row.state, row.started) != (before.state, before.started):
                self._moved(self.rows())
        if not self._live and event.kind in _SPOKEN:
            self._spoke.set()
            self._output.say(f"{datetime.now():%H:%M:%S} {row.name}: {row.last}")

    def rows(self) -> list[Row]:
        """Return the rows as they are now. Takes no lock: the set of rows never changes."""
        return list(self._rows.values())

    def table(self) -> Table:
        """Return the display for a terminal: one line a run."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
        for name in ("run", "phase", "time of budget", "dev", "evals", "last event"):
            table.add_column(name, no_wrap=name != "run", ratio=1 if name == "last event" else None, overflow="ellipsis")
        with self._lock:
            rows = list(self._rows.values())
        now = datetime.now(UTC)
        for row in rows:
            style = {"done": "green", "failed": "red", "cancelled": "yellow", "queued": "dim"}.get(row.state, "cyan")
            dev = "–" if row.dev is None else f"{row.dev:.3f}"
            cells = [row.name, row.state, bar(row.seconds(now), row.wall), dev, str(row.evaluations), row.last]
            table.add_row(*(Text(cell, style=style if i == 1 else "") for i, cell in enumerate(cells)))
        return table

    def summary(self) -> list[str]:
        """Return the state of the batch in plain lines: counts, then one line for each run on its way."""
        now = datetime.now(UTC)
        with self._lock:
            rows = list(self._rows.values())
        counts: dict[str, int] = {}
        for row in rows:
            counts[row.state] = counts.get(row.state, 0) + 1
        lines = [", ".join(f"{count} {state}" for state, count in counts.items())]
        for row in rows:
            if row.state not in ("queued", "done", "failed", "cancelled"):
                dev = "" if row.dev is None else f", dev {row.dev:.3f} after {row.evaluations} evaluations"
                limit = f" of {duration(row.wall)}" if row.wall else ""
                lines.append(f"{row.name}: {row.state}, {duration(row.seconds(now))}{limit}{dev}")
        return lines

    def _beat(self) -> None:
        """Say how things stand whenever nothing was said for a while."""
        while not self._over.is_set():
            if self._spoke.wait(self._quiet_s):
                self._spoke.clear()
                continue
            for line in self.summary():
                self._output.say(f"{datetime.now():%H:%M:%S} {line}")


def bar(used: float, limit: float) -> str:
    """Return ``━━━━──────── 3m 05s/10m 00s``."""
    if not limit:
        return duration(used)
    full = min(_BAR, round(_BAR * used / limit))
    return "━" * full + "─" * (_BAR - full) + f" {duration(used)}/{duration(limit)}"


def preparing(output: Output) -> Any:
    """Return a callback that says what is being prepared before a batch can start."""
    return lambda text, *_: output.say(one_line(text))
