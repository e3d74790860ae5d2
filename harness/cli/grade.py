"""``dojo grade``: score a sealed submission."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import runs
from harness.cli.headings import facts_of, heading
from harness.cli.humanise import count, interval, score
from harness.cli.output import Output, plain
from harness.cli.sanitise import one_line
from harness.cli.side import figures
from harness.cli.side import render as render_side
from harness.spec.engine import EngineRecord

# Broken answers that are listed; a grader that breaks often breaks in one way.
_SHOWN = 5


@click.command("grade", cls=Command)
@click.argument("run", shell_complete=runs)
@click.option("--again", is_flag=True, help="Score it once more; the history is kept, the last grade counts.")
@click.option(
    "--side",
    multiple=True,
    metavar="NAME",
    help="Measure it beside its base model: general, safety, style, all, or a folder of lm-eval tasks; never ranked.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="A quick look at N items; nothing of it is kept.")
@pass_invocation
def grade(invocation: Invocation, run: str, again: bool, limit: int | None, side: tuple[str, ...]) -> None:
    """Score a run's sealed submission on the hidden split, or show the grade it has."""
    if limit is not None and (again or side):
        raise click.UsageError(f"--{'again' if again else 'side'} and --limit exclude each other")
    dojo = invocation.dojo()
    found = dojo.grade(run, again=again, limit=limit)
    record = plain(dojo.side(run, side) if side else found)
    record["side_figures"] = figures(record)
    record["graders"] = [{key: record[key] for key in ("number", "time", "verdict_sha256", "seconds", "settings", "engine")}]
    row = plain(dojo.status(run).runs[0])
    looked = limit if limit is not None else row["limit"]
    invocation.output.result({**record, "task": row["task"], **facts_of(row), "limit": looked, "kept": limit is None}, _render)


def _render(data: Any, output: Output) -> None:
    output.line(heading(data, data["task"]))
    if not data["kept"]:
        output.line(f"quick look at {data['limit']} items: not kept, and never compared or ranked")
    render(data, output)
    render_side(data["side_figures"], output)


def render(data: Any, output: Output) -> None:
    """Print the figures of one grade: the primary metric with its interval, the others, and each sub-set's."""
    scores = data["scores"]
    primary = scores["primary"]
    output.line(
        f"{primary['name']} {score(primary['value'])} ({interval(data['ci_low'], data['ci_high'])}), {scores['items']} items"
    )
    output.line(f"answers in the asked form: {scores['parse_rate']:.1%}; grade {data['number']}")
    if data.get("engine"):
        output.line(f"answers computed by {one_line(EngineRecord.model_validate(data['engine']).words, 300)}")
    rows = [(subset, name, score(value)) for subset, found in scores["subsets"].items() for name, value in found.items()]
    rows += [("all", name, score(value)) for name, value in scores["metrics"].items()]
    output.table(("sub-set", "metric", "value>"), rows)
    broken(output, data["failures"])


def broken(output: Output, failures: Mapping[str, str]) -> None:
    """Print on which answers the task's own grader broke, and where: they count as wrong, and the grader is to be mended."""
    if not failures:
        return
    output.line(f"the task's grader broke on {count(len(failures), 'answer')}, counted as wrong; mend it and grade again:")
    for item, where in list(failures.items())[:_SHOWN]:
        output.line(f"  {one_line(item)}: {one_line(where, 200)}")
    if len(failures) > _SHOWN:
        output.line(f"  and {len(failures) - _SHOWN} more; dojo items RUN --json has them all")
