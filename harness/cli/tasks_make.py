"""``dojo tasks new`` and ``dojo tasks export``: a task that is begun, and one that is handed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import tasks as complete_tasks
from harness.cli.output import Output
from harness.cli.sanitise import one_line


@click.command("new", cls=Command)
@click.argument("name", metavar="DOMAIN/NAME")
@click.option("--dir", "root", type=click.Path(file_okay=False, path_type=Path), help="Where tasks lie (default: mytasks).")
@pass_invocation
def new_task(invocation: Invocation, name: str, root: Path | None) -> None:
    """Start a task: every file of the guide's example under your name, ready to be checked and changed."""
    task = invocation.dojo().new_task(name, root or Path("mytasks"))
    invocation.output.result({"task": task.id, "path": task.path, "root": task.path.parents[1]}, _render_new)


@click.command("export", cls=Command)
@click.argument("task", shell_complete=complete_tasks)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--to", "kind", type=click.Choice(["harbor"]), default="harbor", show_default=True, help="For which tool.")
@click.option("--profile", type=click.Choice(["full", "mini", "strict"]), help="Which profile (default: the settings').")
@click.option("--public-hidden", is_flag=True, help="Hidden items that anybody can make, for documentation.")
@pass_invocation
def export_task(invocation: Invocation, task: str, folder: Path, kind: str, profile: str | None, public_hidden: bool) -> None:
    """Write a self-contained Harbor task into the new FOLDER: data and base model for the agent, the grader apart.

    The verifier's side holds the hidden items: keep the folder from agents.
    """
    chosen = invocation.config(profile=profile).settings.profile
    output = invocation.output
    path = invocation.dojo().export_task(task, folder, chosen, lambda text: output.say(one_line(text)), public_hidden)
    output.result({"task": task, "profile": chosen, "to": kind, "path": path}, _render_pairs)


def _render_new(found: Any, output: Output) -> None:
    _render_pairs(found, output)
    output.line("next: change its files (docs/write-a-task.md says what each is for), then")
    output.line(f"  DOJO_TASKS={found['root']} dojo tasks check {found['task']} --profile mini")


def _render_pairs(found: Any, output: Output) -> None:
    output.pairs(list(found.items()))
