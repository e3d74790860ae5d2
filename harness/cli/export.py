"""``dojo export``: a run's trajectory for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import runs
from harness.cli.humanise import size
from harness.cli.output import Output


@click.command("export", cls=Command)
@click.argument("run", shell_complete=runs)
@click.argument("format", type=click.Choice(["atif"]), default="atif")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write; default trajectory.json of the run.")
@click.option("--validate", is_flag=True, help="Hold what was written against ATIF's own models.")
@pass_invocation
def export(invocation: Invocation, run: str, format: str, out: Path | None, validate: bool) -> None:
    """Write what a run's agent did and said as a trajectory: atif is Harbor's Agent Trajectory Interchange Format, 1.8.

    Every run writes it when it ends; this makes it anew, also of a run that goes on. See docs/trajectories.md.
    """
    invocation.output.result(invocation.dojo().export(run, format, out, validate=validate), _render)


def _render(data: Any, output: Output) -> None:
    valid = f", valid, {data['steps']} steps" if data["steps"] is not None else ""
    output.line(f"wrote {data['path']} ({size(data['bytes'])}{valid})")
