"""``dojo compare``: is one agent better than another, and how many runs would tell?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from harness.cli import damage
from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import agents, batches, tasks
from harness.cli.headings import tables, wrapped
from harness.cli.leaderboard import left_out
from harness.cli.output import Output, plain
from harness.cli.sanitise import one_line

if TYPE_CHECKING:
    from harness.analysis.comparison import ComparisonRow


@click.command("compare", cls=Command)
@click.argument("a", metavar="A", shell_complete=agents)
@click.argument("b", metavar="B", shell_complete=agents)
@click.option("--task", shell_complete=tasks, metavar="T", help="Only this task (id or glob).")
@click.option("--batch", shell_complete=batches, metavar="BATCH", help="Only this batch (id, unique prefix or @last).")
@click.option("--mix", is_flag=True, help="Compare runs of different budgets, models, profiles or images too, with a warning.")
@pass_invocation
def compare(invocation: Invocation, a: str, b: str, task: str | None, batch: str | None, mix: bool) -> None:
    """Compare agent A with agent B: paired difference with its 95 % interval, win/tie/loss by item, and a verdict about A.

    The verdict is better, worse or not_distinguishable, always with the smallest difference these runs could have shown. One run
    of an agent says something of its model, and nothing of the agent: that stays open.
    """
    invocation.output.result(invocation.dojo().compare(a, b, task, batch, mix), _render)


def _render(data: Any, output: Output) -> None:
    from harness.analysis.comparison import Comparison, headings

    found = Comparison.model_validate(data)
    interval, p = headings(found.adjusted)
    columns = ("task", "difference>", interval, f"{p}>", "win/tie/loss>", "runs>", "verdict")
    by_task = {row.task: row for row in found.shown}
    rows = [plain(row) | {"agents": f"{found.a} against {found.b}"} for row in found.shown]
    for title, together in tables(rows, ["agents"]).items():
        output.table(columns, [_cells(by_task[row["task"]], found.adjusted) for row in together], title=title)
    for shown in found.shown:
        said = shown.reason if shown.models else f"{shown.judged()}: {shown.reason}"
        output.line(wrapped(one_line(f"{shown.task}: {said}"), " "))
        if shown.left_out:
            output.line(wrapped(one_line(f"{shown.task}: {shown.left_out}"), " "))
    left_out(data, output)
    for warning in found.warnings:
        output.say(f"warning: {one_line(warning)}")
    damage.tell(data, output)


def _cells(row: ComparisonRow, adjusted: int) -> tuple[object, ...]:
    runs = f"{row.runs_a}+{row.runs_b}"
    return (row.named(adjusted), f"{row.difference:+.3f}", row.interval(), row.chance(), row.counts(), runs, row.judged())
