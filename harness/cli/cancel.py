"""``dojo cancel``: end a run or a batch for good."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import either
from harness.cli.output import Output


@click.command("cancel", cls=Command)
@click.argument("reference", metavar="RUN|BATCH", shell_complete=either)
@pass_invocation
def cancel(invocation: Invocation, reference: str) -> None:
    """End a run, or every run of a batch. What was recorded stays; a cancelled run is no measurement."""
    invocation.output.result({"cancelled": invocation.dojo().cancel(reference)}, _render)


def _render(data: Any, output: Output) -> None:
    for run in data["cancelled"]:
        output.line(f"cancelled {run}")
    if not data["cancelled"]:
        output.line("nothing to cancel: it has ended already")
