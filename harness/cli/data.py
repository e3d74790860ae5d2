"""``dojo data``: prepared data and models in the cache."""

from __future__ import annotations

import sys
from typing import Any

import click

from harness.assets.hidden_secret import secret_path
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
@click.option("--public-hidden", is_flag=True, help="Hidden items that anybody can make, for documentation.")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched, how large, under which licence; fetch nothing.")
@pass_invocation
def prepare_data(invocation: Invocation, task: str, profile: str | None, public_hidden: bool, dry_run: bool) -> None:
    """Prepare a task's data and base model, so that a submit can start at once and offline."""
    chosen = invocation.config(profile=profile).settings.profile
    output = invocation.output
    if dry_run:
        fetches = invocation.dojo().planned_fetches(task, chosen)
        output.result({"task": task, "profile": chosen, "fetches": plain(fetches)}, _render_fetches)
        return
    prepared = invocation.dojo().prepare_data(task, chosen, lambda text: output.say(one_line(text)), public_hidden)
    found = {"task": prepared.task.id, "profile": chosen, "digest": prepared.digest, "hidden": prepared.hidden}
    output.result({**found, "path": prepared.dir}, _render_one)


class SecretOnTheLine(click.UsageError):
    """A secret given as an argument, where every user of the machine can read it while the command runs."""

    hint = "`dojo data secret --set` alone asks for it, or reads one line of stdin: `dojo data secret --set < FILE`"

    def __init__(self) -> None:
        super().__init__("data secret takes no argument: the secret is read from stdin, and not from the command line")


@click.command("secret", cls=Command)
@click.option("--show", is_flag=True, help="Print the secret itself, to take it to another installation.")
@click.option("--set", "take", is_flag=True, help="Take over another installation's: asked for, or one line on stdin.")
@click.argument("words", nargs=-1, metavar="")
@pass_invocation
def secret(invocation: Invocation, words: tuple[str, ...], show: bool, take: bool) -> None:
    """Show the digest of the secret that hidden splits are drawn with, which stands in every result.

    Only scores with one digest are compared. Who has the secret can make the hidden items: keep it from agents and their
    authors. What was drawn with a former secret cannot be drawn again without it.
    """
    if words:  # not said again: it may be the secret, and it stands in the shell's history already
        raise SecretOnTheLine()
    if show and take:
        raise click.UsageError("--show and --set exclude each other")
    dojo, output = invocation.dojo(), invocation.output
    if take:
        terminal = sys.stdin.isatty()
        text = click.prompt("secret", hide_input=True, err=True) if terminal else sys.stdin.readline()
        dojo.set_secret(text)
    found = dojo.secret()
    told = {"digest": found.digest, **({"secret": found.text} if show else {}), "path": secret_path(dojo.cache)}
    output.result(told, _render_one)


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
