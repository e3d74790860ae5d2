"""``dojo export``: a run for other tools, or to be run again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import runs
from harness.cli.humanise import count, size
from harness.cli.output import Output


@click.command("export", cls=Command)
@click.argument("run", shell_complete=runs)
@click.argument("format", type=click.Choice(["atif", "replay"]), default="atif")
@click.option("--out", type=click.Path(path_type=Path), help="Where to; default for atif trajectory.json of the run.")
@click.option("--validate", is_flag=True, help="Hold what was written against ATIF's own models.")
@pass_invocation
def export(invocation: Invocation, run: str, format: str, out: Path | None, validate: bool) -> None:
    """Write a run out. atif, the default: what its agent did and said, in Harbor's Agent Trajectory Interchange Format 1.8.

    Every run writes that when it ends; this makes it anew, also of a run that goes on. replay: a directory of an agent that runs
    the recorded commands again and hands in what comes out. See docs/trajectories.md.
    """
    invocation.output.result(invocation.dojo().export(run, format, out, validate=validate), _render)


def _render(data: Any, output: Output) -> None:
    if data["format"] == "replay":
        left = f", {count(data['unplayable'], 'command')} cannot be run again" if data["unplayable"] else ""
        output.line(f"made {data['path']}: {count(data['commands'], 'command')}{left}")
        output.line(f"try: dojo submit --agent {data['path']} --task …")
    else:
        valid = ", valid" if data["valid"] else ""
        output.line(f"wrote {data['path']} ({count(data['steps'], 'step')}, {size(data['bytes'])}{valid})")
