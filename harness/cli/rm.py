"""``dojo rm``: delete runs and batches for good."""

from __future__ import annotations

import sys
from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import either
from harness.cli.humanise import count, size
from harness.cli.output import Output, plain

_LISTED = 10


@click.command("rm", cls=Command)
@click.argument("references", metavar="RUN|BATCH...", nargs=-1, required=True, shell_complete=either)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--counted", is_flag=True, help="Also runs that a leaderboard counts.")
@pass_invocation
def rm(invocation: Invocation, references: tuple[str, ...], yes: bool, counted: bool) -> None:
    """Delete runs or whole batches: folders and index. It asks first; without a terminal it needs --yes.

    Runs that a leaderboard counts are refused unless --counted is given, and runs that a process drives always. `dojo exclude`
    keeps a run out of comparisons without deleting it; `dojo gc --sealed-older-than 30d` frees weights only.
    """
    dojo, output = invocation.dojo(), invocation.output
    found = dojo.removal(references)
    if not (yes or found.driven or (found.counted and not counted)):
        _ask(plain(found), output)
    invocation.output.result(dojo.remove(found.references, counted), _render)


def _ask(found: Any, output: Output) -> None:
    if output.as_json or not sys.stdin.isatty():
        from harness.spec.errors import UsageError

        raise UsageError(f"{_what(found)} would be deleted for good", hint="--yes does it without asking")
    for run in found["runs"][:_LISTED]:
        output.say(f"  {run}" + ("  counted by a leaderboard" if run in found["counted"] else ""))
    if len(found["runs"]) > _LISTED:
        output.say(f"  and {len(found['runs']) - _LISTED} more")
    click.confirm(f"delete {_what(found)} for good?", abort=True, err=True)


def _what(found: Any) -> str:
    return f"{count(len(found['runs']), 'run')} ({size(found['bytes'])})"


def _render(data: Any, output: Output) -> None:
    output.line(f"deleted {_what(data)}")
