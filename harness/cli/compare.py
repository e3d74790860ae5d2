"""``dojo compare``: is one agent better than another, and how many runs would tell?"""

from __future__ import annotations

from typing import Any

import click

from harness.cli import damage
from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import agents, batches, tasks
from harness.cli.headings import tables, wrapped
from harness.cli.leaderboard import left_out
from harness.cli.output import Output
from harness.cli.sanitise import one_line

_COLUMNS = ("task", "difference>", "95 %", "p>", "win/tie/loss>", "runs>", "verdict")


@click.command("compare", cls=Command)
@click.argument("a", metavar="A", shell_complete=agents)
@click.argument("b", metavar="B", shell_complete=agents)
@click.option("--task", shell_complete=tasks, metavar="T", help="Only this task (id or glob).")
@click.option("--batch", shell_complete=batches, metavar="BATCH", help="Only this batch (id, unique prefix or @last).")
@click.option("--mix", is_flag=True, help="Compare runs of different budgets, models, profiles or images too, with a warning.")
@pass_invocation
def compare(invocation: Invocation, a: str, b: str, task: str | None, batch: str | None, mix: bool) -> None:
    """Compare agent A with agent B: paired difference with its 95 % interval, win/tie/loss by item, and a verdict about A.

    The verdict is better, worse or not_distinguishable, always with the smallest difference these runs could have shown.
    """
    invocation.output.result(invocation.dojo().compare(a, b, task, batch, mix), _render)


def _render(data: Any, output: Output) -> None:
    rows = list(data["rows"])
    if data["overall"] not in rows:
        rows.append(data["overall"])
    for title, found in tables([row | {"agents": f"{data['a']} against {data['b']}"} for row in rows], ["agents"]).items():
        output.table(_COLUMNS, [_cells(row) for row in found], title=title)
    for row in rows:
        reason = one_line(f"{row['task']}: {row['verdict'].replace('_', ' ')}: {row['reason']}")
        output.line(wrapped(reason, " "))
    left_out(data, output)
    for warning in data["warnings"]:
        output.say(f"warning: {one_line(warning)}")
    damage.tell(data, output)


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    return (
        row["task"],
        f"{row['difference']:+.3f}",
        f"{row['ci_low']:+.3f} to {row['ci_high']:+.3f}",
        f"{row['p_adjusted']:.3g}",
        f"{row['win']}/{row['tie']}/{row['loss']}",
        f"{row['runs_a']}+{row['runs_b']}",
        row["verdict"].replace("_", " "),
    )
