"""``dojo runs`` and ``dojo batches``: find what was submitted."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from harness.cli import damage
from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.filters import filters, where
from harness.cli.headings import tables
from harness.cli.humanise import age, interval, score, size
from harness.cli.output import Output, plain
from harness.cli.rows import shown
from harness.cli.sanitise import one_line


@click.command("runs", cls=Command)
@filters
@pass_invocation
def runs(invocation: Invocation, /, sizes: bool, limit: int, **given: Any) -> None:
    """Find runs, the newest first: a table for each thing that was measured.

    Every id, unique prefix and batch name shown works wherever a command asks for a run or a batch.
    """
    dojo = invocation.dojo()
    found = plain(dojo.find_runs(where(dojo.store.resolve, given), limit or None, sizes))
    invocation.output.result({key: found[key] for key in ("runs", "damaged", "more")}, partial(_render_runs, given))


@click.command("batches", cls=Command)
@filters
@pass_invocation
def batches(invocation: Invocation, /, sizes: bool, limit: int, **given: Any) -> None:
    """Find batches, the newest first: those of which a run matches."""
    dojo = invocation.dojo()
    found = plain(dojo.find_batches(where(dojo.store.resolve, given), limit or None, sizes))
    invocation.output.result({key: found[key] for key in ("batches", "damaged", "more")}, partial(_render_batches, given))


def _render_runs(filters: dict[str, Any], data: Any, output: Output) -> None:
    bad = {found["run"]: found for found in data["damaged"]}
    for title, rows in tables(row for row in data["runs"] if row["id"] not in bad).items():
        sized = rows[0]["bytes"] is not None
        columns = [
            "run",
            "agent",
            "seed>",
            "state",
            "score" if sized else "score (95 %)",
            "age>",
            *(["size>"] if sized else []),
            "marks",
        ]
        marked = any(_marks(row) for row in rows)
        cells = [_run_cells(row, sized) for row in rows]
        output.table(columns if marked else columns[:-1], cells if marked else [c[:-1] for c in cells], title=title)
        output.line()
    _ending(data, output, len(data["runs"]), "run", filters)


def _run_cells(row: dict[str, Any], sized: bool) -> list[object]:
    cause = row["cause"]
    state = row["state"] if cause in (None, "completed", row["state"]) else f"{row['state']}: {cause}"
    scored = score(row["score"])
    if row["ci_low"] is not None and not sized:  # who looks at sizes wants to tidy; both do not fit 80 columns
        scored += f" ({interval(row['ci_low'], row['ci_high'])})"
    weight = [size(row["bytes"])] if sized else []
    return [row["id"], shown(row), row["seed"], state, scored, age(row["created"]), *weight, _marks(row)]


def _marks(row: dict[str, Any]) -> str:
    """Return tags, and why a run is left out of comparisons."""
    return "; ".join(filter(None, (", ".join(row["tags"]), row["excluded"] and f"excluded: {row['excluded']}")))


def _render_batches(filters: dict[str, Any], data: Any, output: Output) -> None:
    rows = []
    sized = any(row["bytes"] is not None for row in data["batches"])
    for row in data["batches"]:
        states = ", ".join(f"{number} {state}" for state, number in row["states"].items())
        what = [_few(row["agents"]), _few(row["tasks"]), ", ".join(row["profiles"])]
        weight = [size(row["bytes"])] if sized else []
        rows.append([row["id"], row["name"], *what, states, age(row["created"]), *weight, ", ".join(row["tags"])])
    columns = ["batch", "name", "agents", "tasks", "profile", "runs", "age>", *(["size>"] if sized else []), "tags"]
    empty = {place for place, _ in enumerate(columns) if rows and all(not row[place] for row in rows)}
    if rows:
        output.table(
            [name for place, name in enumerate(columns) if place not in empty],
            [[cell for place, cell in enumerate(row) if place not in empty] for row in rows],
        )
    _ending(data, output, len(rows), "batch", filters)


def _few(names: list[str]) -> str:
    return one_line(", ".join(names)) if len(names) <= 2 else str(len(names))


def _ending(data: Any, output: Output, shown: int, noun: str, filters: dict[str, Any]) -> None:
    if not shown and not any(filters.values()):
        output.line(f"there is no {noun} yet; start one with `dojo submit`")
    elif not shown:
        output.line(f"no {noun} matches; without filters `dojo {'runs' if noun == 'run' else 'batches'}` shows the newest")
    elif data["more"]:
        plural = "runs" if noun == "run" else "batches"
        output.line(f"the newest {shown} {plural}; --limit 0 shows all")
    damage.tell(data, output)
