"""``dojo config``: settings with their origins."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.base import Command, Invocation, LazyGroup, pass_invocation
from harness.cli.commands import CONFIG
from harness.cli.output import Output


@click.group(cls=LazyGroup, table=CONFIG, default="show")
def config() -> None:
    """Settings: flags over environment DOJO_* over dojo.toml over defaults."""


@click.command("show", cls=Command)
@pass_invocation
def show_config(invocation: Invocation) -> None:
    """Print each setting with its value and its origin."""
    found = invocation.config()
    invocation.output.result({"file": found.file, "settings": found.rows()}, _render)


def _render(data: Any, output: Output) -> None:
    rows = [(s["name"], _shown(s["value"]), s["origin"], s["description"]) for s in data["settings"]]
    output.table(("setting", "value", "origin", "meaning"), rows)
    output.line(f"file: {data['file'] or 'no dojo.toml here or above'}")


def _shown(value: Any) -> Any:
    """Tables show the names in them; `--json` has all of them."""
    if isinstance(value, dict):
        return ", ".join(value) or "–"
    return "–" if value is None else value
