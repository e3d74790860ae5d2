"""``dojo grade``: score a sealed submission."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import runs
from harness.cli.headings import facts_of, heading
from harness.cli.humanise import interval, score
from harness.cli.output import Output, plain


@click.command("grade", cls=Command)
@click.argument("run", shell_complete=runs)
@click.option("--again", is_flag=True, help="Score it once more; the history is kept, the last grade counts.")
@pass_invocation
def grade(invocation: Invocation, run: str, again: bool) -> None:
    """Score a run's sealed submission on the hidden split, or show the grade it has."""
    dojo = invocation.dojo()
    record = plain(dojo.grade(run, again=again))
    record["graders"] = [{key: record[key] for key in ("number", "time", "verdict_sha256", "seconds", "settings")}]
    row = plain(dojo.status(run).runs[0])
    invocation.output.result({**record, "task": row["task"], "limit": row["limit"], **facts_of(row)}, _render)


def _render(data: Any, output: Output) -> None:
    output.line(heading(data, data["task"]))
    render(data, output)


def render(data: Any, output: Output) -> None:
    """Print the figures of one grade: the primary metric with its interval, the others, and each sub-set's."""
    scores = data["scores"]
    primary = scores["primary"]
    output.line(
        f"{primary['name']} {score(primary['value'])} ({interval(data['ci_low'], data['ci_high'])}), {scores['items']} items"
    )
    output.line(f"answers in the asked form: {scores['parse_rate']:.1%}; grade {data['number']}")
    rows = [(subset, name, score(value)) for subset, found in scores["subsets"].items() for name, value in found.items()]
    rows += [("all", name, score(value)) for name, value in scores["metrics"].items()]
    output.table(("sub-set", "metric", "value>"), rows)
