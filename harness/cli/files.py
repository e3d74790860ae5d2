"""``dojo files``: what a run's agent left in its workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import runs
from harness.cli.humanise import count, size
from harness.cli.output import Output
from harness.cli.sanitise import one_line, sanitise


@click.command("files", cls=Command)
@click.argument("run", shell_complete=runs)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--to", "target", type=click.Path(path_type=Path), help="Write the files into this new folder, byte by byte.")
@pass_invocation
def files(invocation: Invocation, run: str, names: tuple[str, ...], target: Path | None) -> None:
    """List what a run's agent left in its workspace; with a NAME print that file.

    The files lie in one archive, because a folder of an agent's files acts on who looks: git, editors and test runners obey what
    they find in it. What is printed has no control sequences. With --to the files (or those whose names fit NAME, which may be a
    glob) are unpacked, hidden ones under changed names (.git becomes dot.git); start nothing in there that you would not run.
    """
    dojo = invocation.dojo()
    if target is not None:
        written = dojo.unpack_files(run, target, names)
        invocation.output.result({"path": target, "files": written}, _render_unpacked)
    elif len(names) > 1:
        raise click.UsageError("one NAME at a time is printed; --to FOLDER writes several")
    elif names:
        text = dojo.file(run, names[0]).decode(errors="replace")
        invocation.output.result({"name": names[0], "text": text}, _render_text)
    else:
        invocation.output.result(dojo.files(run), _render)


def _render(data: Any, output: Output) -> None:
    output.table(("file", "size>"), [(one_line(file["name"]), size(file["bytes"])) for file in data["files"]])
    if data["left_out"]:
        output.line(f"{count(len(data['left_out']), 'thing')} not kept; workspace-left-out.txt in the run's folder names them")
    output.line(f"dojo files {data['run']} NAME prints one; --to FOLDER takes them out")


def _render_text(data: Any, output: Output) -> None:
    text = sanitise(data["text"])
    output.write(text if text.endswith("\n") or not text else text + "\n")


def _render_unpacked(data: Any, output: Output) -> None:
    changed = sum(name != written for name, written in data["files"].items())
    note = f", {count(changed, 'name')} changed" if changed else ""
    output.line(f"wrote {count(len(data['files']), 'file')} to {data['path']}{note}")
