"""``dojo artefacts``: runs that have ended, kept in an object store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import click

from harness.cli.base import Command, Invocation, LazyGroup, pass_invocation
from harness.cli.commands import ARTEFACTS
from harness.cli.complete import either
from harness.cli.filters import Age
from harness.cli.humanise import count, size
from harness.cli.output import Output, plain
from harness.cli.sanitise import one_line
from harness.spec.progress import Progress

_REFERENCES = click.argument("references", metavar="[RUN|BATCH]...", nargs=-1, shell_complete=either)


@click.group("artefacts", cls=LazyGroup, table=ARTEFACTS, default="list")
def artefacts() -> None:
    """Keep runs that have ended in the place that DOJO_ARTEFACTS names, and bring them back."""


@click.command("list", cls=Command)
@pass_invocation
def list_artefacts(invocation: Invocation) -> None:
    """List runs that have ended here, and those of which something is there.

    A run that is cut off there is gone on with by `push`; one that is dropped here lacks what is large, which `grade` and `files`
    fetch by themselves.
    """
    invocation.output.result({"runs": invocation.dojo().artefacts()}, _render_list)


@click.command("push", cls=Command)
@_REFERENCES
@click.option("--anew", is_flag=True, help="Send what is there already, too: mends what `verify` finds.")
@pass_invocation
def push(invocation: Invocation, references: tuple[str, ...], anew: bool) -> int:
    """Put runs that have ended there: those named, or all that are not there as they are here.

    It is done by itself when a run ends. What is there is not sent again, so one that was cut off goes on. Everything of a run's
    folder is put there, hidden items and answers too: who may read the place may read those.
    """
    say = _progress(invocation.output)
    return _report(invocation.output, invocation.dojo().push_artefacts(references, anew=anew, progress=say), "sent", _moved)


@click.command("pull", cls=Command)
@click.argument("references", metavar="RUN|BATCH...", nargs=-1, required=True)
@pass_invocation
def pull(invocation: Invocation, references: tuple[str, ...]) -> int:
    """Bring the folders of runs back into DOJO_HOME, every byte compared with the manifest.

    A run that is here is completed where it lacks something; where it differs it is refused and left alone. `dojo reindex` then
    takes new runs into the lists.
    """
    say = _progress(invocation.output)
    return _report(invocation.output, invocation.dojo().pull_artefacts(references, progress=say), "fetched", _moved)


@click.command("verify", cls=Command)
@_REFERENCES
@pass_invocation
def verify(invocation: Invocation, references: tuple[str, ...]) -> int:
    """Read runs there, those named or all, and say which objects are missing or altered (exit code 1)."""
    found = invocation.dojo().verify_artefacts(references, progress=_progress(invocation.output))
    rows = plain(found)
    for row in rows:
        if row["faults"]:
            first = row["faults"][0]
            more = f", and {len(row['faults']) - 1} more" if len(row["faults"]) > 1 else ""
            row["error"] = {
                "code": f"artefact_{first['fault']}",
                "message": f"run {row['run']}: {first['path']} is {first['fault']} there{more}",
                "hint": f"where the run's folder is, `dojo artefacts push {row['run']} --anew` sends it again",
            }
    return _report(invocation.output, rows, "whole", lambda row: (count(row["files"], "file"), size(row["bytes"])))


@click.command("drop", cls=Command)
@_REFERENCES
@click.option("--older-than", type=Age(), metavar="AGE", help="Only runs that ended so long ago (30d, or a date).")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted; all that is there is read all the same.")
@pass_invocation
def drop(invocation: Invocation, references: tuple[str, ...], older_than: datetime | None, dry_run: bool) -> int:
    """Delete here what is large of runs and whole there: what was sealed, submissions, and what the agent left.

    Every byte of it is read there first; what is not there as it is here stays. `grade`, `files` and `pull` fetch it again.
    """
    dojo, output = invocation.dojo(), invocation.output
    rows = dojo.drop_artefacts(references, before=older_than, dry=dry_run, progress=_progress(output))
    return _report(output, rows, "would free" if dry_run else "freed", lambda row: (size(row["bytes"]),))


def _progress(output: Output) -> Progress:
    return lambda text: output.say(one_line(text))


def _moved(row: Any) -> tuple[str, ...]:
    left_out = f"without {count(len(row['left_out']), 'thing')}" if row["left_out"] else ""
    return (count(row["files"], "file"), size(row["bytes"]), f"{row['moved']} ({size(row['moved_bytes'])}) {left_out}".rstrip())


def _report(output: Output, rows: Any, did: str, cells: Callable[[Any], Sequence[str]]) -> int:
    """Print a line a run; where one failed the answer is an error too: 1, or 4 where others went well."""
    data = {"runs": plain(rows)}
    bad = [row for row in data["runs"] if row["error"]]

    def render(data: Any, output: Output) -> None:
        for row in data["runs"]:
            output.line(f"{row['run']}  {one_line(row['error']['message']) if row['error'] else '  '.join([did, *cells(row)])}")
        if not data["runs"]:
            output.line("nothing to do")

    if not bad:
        output.result(data, render)
        return 0
    error = bad[0]["error"]
    message = error["message"] if len(bad) == 1 else f"{count(len(bad), 'run')} failed; the first: {error['message']}"
    output.problem(data, render, error["code"], message, error["hint"])
    return 4 if len(bad) < len(data["runs"]) else 1


def _render_list(data: Any, output: Output) -> None:
    columns = ("run", "batch", "there", "here")
    output.table(columns, [[row[name] for name in columns] for row in data["runs"]])
