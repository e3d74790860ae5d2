"""``dojo data``: prepared data and models in the cache."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.base import Command, Invocation, LazyGroup, pass_invocation
from harness.cli.commands import DATA
from harness.cli.complete import tasks as complete_tasks
from harness.cli.output import Output, plain
from harness.cli.sanitise import one_line


@click.group(cls=LazyGroup, table=DATA, default="list")
def data() -> None:
    """Data and base models in the cache: what runs are made from."""


@click.command("list", cls=Command)
@pass_invocation
def list_data(invocation: Invocation) -> None:
    """List what the cache holds."""
    invocation.output.result({"data": invocation.dojo().data()}, _render_list)


@click.command("prepare", cls=Command)
@click.argument("task", shell_complete=complete_tasks)
@click.option("--profile", type=click.Choice(["full", "mini", "strict"]), help="Which profile (default: the settings').")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched, how large, under which licence; fetch nothing.")
@pass_invocation
def prepare_data(invocation: Invocation, task: str, profile: str | None, dry_run: bool) -> None:
    """Prepare a task's data and base model, so that a submit can start at once and offline."""
    chosen = invocation.config(profile=profile).settings.profile
    output = invocation.output
    if dry_run:
        fetches = invocation.dojo().planned_fetches(task, chosen)
        output.result({"task": task, "profile": chosen, "fetches": plain(fetches)}, _render_fetches)
        return
    prepared = invocation.dojo().prepare_data(task, chosen, lambda text: output.say(one_line(text)))
    output.result({"task": prepared.task.id, "profile": chosen, "digest": prepared.digest, "path": prepared.dir}, _render_one)


@click.command("verify", cls=Command)
@click.argument("task", required=False, shell_complete=complete_tasks)
@pass_invocation
def verify_data(invocation: Invocation, task: str | None) -> int:
    """Check prepared data and models against their checksums; exit code 1 where they differ."""
    from harness.cli.doctor import report_checks

    return report_checks(invocation.output, invocation.dojo().verify_data(task), exit_code=1, code="verify_failed")


def _render_list(found: Any, output: Output) -> None:
    if not found["data"]:
        output.line("the cache is empty; `dojo data prepare TASK` fills it")
        return
    columns = list(found["data"][0])
    output.table(columns, [[plain(row.get(column)) for column in columns] for row in found["data"]])


def _render_fetches(found: Any, output: Output) -> None:
    for fetch in found["fetches"]:
        output.pairs(
            [
                ("fetches", f"{fetch['what']} ({fetch['kind']})"),
                ("files", ", ".join(fetch["files"]) or "the whole repository's weights, configuration and tokenizer"),
                ("licence", fetch["licence"]),
                ("revision", fetch["revision"]),
                ("size", fetch["size"]),
                ("state", fetch["state"]),
            ]
        )
        output.line("")


def _render_one(found: Any, output: Output) -> None:
    output.pairs(list(found.items()))
