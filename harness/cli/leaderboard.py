"""``dojo leaderboard``: agents with intervals, beside them the yardsticks."""

from __future__ import annotations

from typing import Any

import click

from harness.cli import damage
from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import batches, tasks
from harness.cli.headings import tables
from harness.cli.humanise import amount, interval, score
from harness.cli.output import Output
from harness.cli.sanitise import one_line

# Columns that every table has; the others stand where they say something.
_ALWAYS = 5


@click.command("leaderboard", cls=Command)
@click.option("--task", shell_complete=tasks, metavar="T", help="Only this task (id or glob).")
@click.option("--batch", shell_complete=batches, metavar="B", help="Only this batch (id, unique prefix or @last).")
@pass_invocation
def leaderboard(invocation: Invocation, task: str | None, batch: str | None) -> None:
    """Rank agents with 95 % intervals, beside base, few-shot base and majority.

    Ranks are ranges: the best and the worst that the intervals allow. Runs of different settings stand in separate tables.
    """
    invocation.output.result(invocation.dojo().leaderboard(task, batch), render)


def render(data: Any, output: Output) -> None:
    """Print a table for each task and setting: agents first, yardsticks below them; then what was left out and why."""
    if not data["rows"]:
        output.line("no run has been measured yet")
    below = tables(row | {"task": task} for task, lines in data["references"].items() for row in lines)
    for title, rows in tables(data["rows"]).items():
        _table(title, rows, below.get(title, []), output)
    for title, rows in tables(data.get("overall") or []).items():
        _table(title, rows, [], output)
    for label in dict.fromkeys(row["label"] for row in data["rows"] if row.get("label")):
        output.line(f"* {one_line(label)}")
    left_out(data, output)
    for warning in data.get("warnings", []):
        output.say(f"warning: {one_line(warning)}")
    damage.tell(data, output)


def left_out(data: Any, output: Output) -> None:
    """Print which runs do not count, and why."""
    for out in data.get("left_out", []):
        output.line("left out: " + ", ".join(f"{name} {one_line(value)}" for name, value in out.items() if value))


def _table(title: str, rows: list[dict[str, Any]], references: list[dict[str, Any]], output: Output) -> None:
    cells: list[list[object]] = []
    for row in rows:
        low, high = row["rank_low"], row["rank_high"]
        notes = [f"{row['flagged']} run(s) with cheating"] if row.get("flagged") else []
        notes += [f"{row['silent']} run(s) never called the backbone"] if row.get("silent") else []
        notes += [f"normalised {row['normalised']:.2f}"] if row.get("normalised") is not None else []
        cells.append(
            [
                str(low) if low == high else f"{low}–{high}",
                row["agent"] + ("*" if row.get("label") else ""),
                row["runs"],
                score(row["score"]),
                interval(row["ci_low"], row["ci_high"]),
                amount("tokens", row["tokens"]) if row.get("tokens") else "",
                amount("dollars", row["dollars"]) if row.get("dollars") else "",
                "; ".join(filter(None, notes)),
            ]
        )
    for line in references:
        cells.append(["", f"({line['name']})", "", score(line["score"]), interval(line["ci_low"], line["ci_high"]), "", "", ""])
    columns = ["rank>", "agent", "runs>", "score>", "95 %", "tokens>", "cost>", "note"]
    shown = [place for place in range(len(columns)) if place < _ALWAYS or any(row[place] for row in cells)]
    output.table([columns[place] for place in shown], [[row[place] for place in shown] for row in cells], title=title)
