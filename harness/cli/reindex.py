"""``dojo reindex``: the database anew from the run folders, which are the truth."""

from __future__ import annotations

from typing import Any

import click

from harness.cli import damage
from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.humanise import count
from harness.cli.output import Output, plain
from harness.cli.sanitise import one_line


@click.command("reindex", cls=Command)
@pass_invocation
def reindex(invocation: Invocation) -> None:
    """Rebuild the database from the run folders: after damage, an upgrade, or when folders were copied in or deleted by hand."""
    output = invocation.output
    report = plain(invocation.dojo().reindex(lambda text: output.say(one_line(text))))
    report["damaged"] = report.pop("damages")
    output.result(report, _render)


def _render(data: Any, output: Output) -> None:
    batches = f"{data['batches']} batch" + ("" if data["batches"] == 1 else "es")
    output.line(f"{count(data['runs'], 'run')} in {batches}")
    damage.tell(data, output)
