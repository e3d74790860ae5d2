"""``dojo tasks score``: the grader itself, on given answers to given items; no model and no run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import tasks as complete_tasks
from harness.cli.grade import broken
from harness.cli.humanise import score
from harness.cli.output import Output

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("score", cls=Command)
@click.argument("task", shell_complete=complete_tasks)
@click.option("--rows", type=_FILE, required=True, metavar="FILE", help="Items in the benchmark's layout, one JSON a line.")
@click.option("--responses", type=_FILE, required=True, metavar="FILE", help='{"index": line of rows, "response": text} a line.')
@pass_invocation
def score_task(invocation: Invocation, task: str, rows: Path, responses: Path) -> None:
    """Score given answers to given items, for answers generated elsewhere, for audits and for tests.

    A missing response counts as unparsable. Where the benchmark names the sub-set only by file, a row carries "subset".
    """
    invocation.output.result(invocation.dojo().score_rows(task, rows, responses), _render)


def _render(data: Any, output: Output) -> None:
    primary = data["primary"]
    arrow = "higher" if primary["higher_is_better"] else "lower"
    output.line(f"{primary['name']} {score(primary['value'])} ({arrow} is better), {len(data['items'])} items")
    output.line(f"answers in the asked form: {data['parse_rate']:.1%}")
    cells = [(subset, name, score(value)) for subset, found in data["subsets"].items() for name, value in found.items()]
    cells += [("all", name, score(value)) for name, value in data["metrics"].items()]
    output.table(("sub-set", "metric", "value>"), cells)
    broken(output, {f"row {item['index']}": item["failure"] for item in data["items"] if item.get("failure")})
