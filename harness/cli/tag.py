"""``dojo tag``: words on runs and batches, to find them again."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import either
from harness.cli.output import Output


@click.command("tag", cls=Command)
@click.argument("reference", metavar="RUN|BATCH", shell_complete=either)
@click.argument("tags", metavar="[TAG]...", nargs=-1)
@click.option("--remove", multiple=True, metavar="TAG", help="Take this tag off; repeatable.")
@pass_invocation
def tag(invocation: Invocation, reference: str, tags: tuple[str, ...], remove: tuple[str, ...]) -> None:
    """Put TAGs on a run or a batch, and take others off: `dojo tag @last baseline --remove draft`.

    `dojo runs --tag baseline` then finds the run, or every run of the batch. Tags lie in the folders and survive `dojo reindex`.
    """
    if not tags and not remove:
        raise click.UsageError("no tag was named: dojo tag RUN TAG, or --remove TAG")
    (found,) = invocation.dojo().tag([reference], tags, remove)
    invocation.output.result({"id": found, "added": tags, "removed": remove}, _render)


def _render(data: Any, output: Output) -> None:
    words = [f"+{name}" for name in data["added"]] + [f"-{name}" for name in data["removed"]]
    output.pairs([(data["id"], " ".join(words))])
