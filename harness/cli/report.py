"""``dojo report``: a batch on one page, for people who were not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli import damage
from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import batches
from harness.cli.output import Output


@click.command("report", cls=Command)
@click.argument("batch", default="@last", shell_complete=batches)
@click.option("--md", "page_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the page here, not to stdout.")
@click.option("--plots", "plots_dir", type=click.Path(file_okay=False, path_type=Path), help="Write plots into this directory.")
@pass_invocation
def report(invocation: Invocation, batch: str, page_file: Path | None, plots_dir: Path | None) -> None:
    """Write a batch's report in Markdown: leaderboard, every pair of agents compared, every run; default: the newest batch."""
    dojo = invocation.dojo()
    plots = dojo.plots(plots_dir, batch) if plots_dir is not None else []
    files, text = list(plots), dojo.report(batch, [plot for plot in plots if plot.suffix == ".svg"], page_file)
    if page_file is not None:
        _write(page_file, text)
        files.append(page_file)
    status = dojo.status(batch)
    damaged = {found.run: found for found in (*status.damaged, *dojo.damaged(status.batch))}
    shown = {"batch": status.batch, "markdown": text, "files": files, "damaged": list(damaged.values())}
    invocation.output.result(shown, _render_page if page_file is None else _render_files)


def _write(path: Path, text: str) -> None:
    from harness.spec.errors import UsageError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}", hint="name a file in a directory that exists") from exc


def _render_page(data: Any, output: Output) -> None:
    output.write(data["markdown"])
    for file in data["files"]:
        output.say(f"wrote {file}")
    damage.tell(data, output)


def _render_files(data: Any, output: Output) -> None:
    for file in data["files"]:
        output.line(f"wrote {file}")
    damage.tell(data, output)
