"""``dojo attack``: try every known way to cheat or break out against this installation, and say what held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.output import Output
from harness.cli.sanitise import one_line

if TYPE_CHECKING:
    from harness.attack import Played, Report


@click.command("attack", cls=Command)
@click.option("--sandbox", metavar="NAME", help="Sandbox backend to attack (default: the settings').")
@click.option("--row", "rows", type=int, multiple=True, metavar="N", help="Only this threat of docs/security.md; repeatable.")
@click.option("--quick", is_flag=True, help="Leave out whole runs: no model is needed.")
@pass_invocation
def attack(invocation: Invocation, sandbox: str | None, rows: tuple[int, ...], quick: bool) -> int:
    """Attack this installation: every known way to cheat or break out is tried for real, and reported with what stopped it.

    Nothing is tried outside a sandbox, and nothing at all on a backend that isolates nothing. Exit code 1 where something was
    not stopped, 3 where the backend, a model or an image is missing.
    """
    from harness.attack import AttackSuite

    output = invocation.output
    settings = invocation.config(sandbox=sandbox).settings
    with AttackSuite(invocation.dojo(), settings.sandbox) as suite:
        report = suite.play(rows, quick=quick, on_played=lambda played: _say(output, played))
    data = document(report)
    if report.held:
        output.result(data, _render)
        return 0
    failed = [row["row"] for row in data["rows"] if row["verdict"] == "NOT STOPPED"]
    output.problem(
        data,
        _render,
        "not_stopped",
        f"not stopped on {report.sandbox}: row {', '.join(map(str, failed))}",
        f"`dojo attack --sandbox {report.sandbox} --row {failed[0]} --json` shows what was seen",
    )
    return 1


def document(report: Report) -> dict[str, Any]:
    """Return a report as it is printed with ``--json``."""
    rows = [
        {
            "row": row.threat.row,
            "title": row.threat.title,
            "defence": row.threat.defence,
            "verdict": row.verdict.value,
            "attacks": [
                {
                    "name": played.attack.name,
                    "where": played.attack.where.value,
                    "tried": played.attack.tried,
                    "stopped_by": played.attack.stopped_by,
                    "verdict": played.verdict.value,
                    "seen": played.seen,
                    "waits_for": played.attack.waits_for,
                    "seconds": played.seconds,
                }
                for played in row.attacks
            ],
        }
        for row in report.rows
    ]
    counts: dict[str, int] = {}
    for row in report.rows:
        counts[row.verdict.value] = counts.get(row.verdict.value, 0) + 1
    return {"sandbox": report.sandbox, "held": report.held, "counts": counts, "rows": rows}


def _say(output: Output, played: Played) -> None:
    attack = played.attack
    output.say(f"{attack.row:>2} {attack.name} ({attack.where}): {played.verdict} ({played.seconds:.1f} s)")


def _render(data: Any, output: Output) -> None:
    cells = []
    for row in data["rows"]:
        for played in row["attacks"]:
            instead = {"waiting": played["waits_for"], "does not apply": played["seen"]}
            why = instead.get(played["verdict"], played["stopped_by"])
            cells.append((row["row"], played["name"], played["tried"], why, played["verdict"]))
    output.table(("row", "attack", "tried", "what stopped it", "verdict"), cells, title=f"attacks on {data['sandbox']}")
    for row in data["rows"]:
        for played in row["attacks"]:
            if played["verdict"] == "NOT STOPPED":
                output.line(f"NOT STOPPED {row['row']} {played['name']}: {one_line(played['seen'], 600)}")
    for verdict in ("waiting", "does not apply", "left out"):
        if found := [str(row["row"]) for row in data["rows"] if row["verdict"] == verdict]:
            output.line(f"{verdict}: rows {', '.join(found)}")
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(data["counts"].items()))
    output.line(f"{len(data['rows'])} rows on {data['sandbox']}: {counts}")
