"""``dojo exclude`` and ``dojo include``: a run that is kept, marked, and left out of comparisons."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import runs
from harness.cli.output import Output
from harness.cli.sanitise import one_line


@click.command("exclude", cls=Command)
@click.argument("run", shell_complete=runs)
@click.option("--why", required=True, metavar="TEXT", help="The reason; shown wherever the run is.")
@pass_invocation
def exclude(invocation: Invocation, run: str, why: str) -> None:
    """Leave a run out of leaderboards and comparisons. It stays and is shown with the reason; `dojo include` takes it back."""
    invocation.output.result({"run": invocation.dojo().exclude(run, why), "excluded": why}, _render_excluded)


@click.command("include", cls=Command)
@click.argument("run", shell_complete=runs)
@pass_invocation
def include(invocation: Invocation, run: str) -> None:
    """Take a run into leaderboards and comparisons again."""
    invocation.output.result({"run": invocation.dojo().include(run), "excluded": ""}, _render_included)


def _render_excluded(data: Any, output: Output) -> None:
    output.line(f"{data['run']} is left out of comparisons: {one_line(data['excluded'])}")


def _render_included(data: Any, output: Output) -> None:
    output.line(f"{data['run']} is no longer excluded")
