"""``dojo schema``: the JSON schemas of what users write and read."""

from __future__ import annotations

import json
from typing import Any

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.output import Output


@click.command("schema", cls=Command)
@click.argument("name", required=False)
@pass_invocation
def schema(invocation: Invocation, name: str | None) -> None:
    """Print the JSON schema NAME (task, agent, matrix, settings, run, event …; api: OpenAPI), or all of them by name.

    It reads no setting and no task: it works where dojo.toml is broken.
    """
    from harness.service.data import all_schemas

    schemas = all_schemas()
    if name is None:
        invocation.output.result(schemas, _render)
        return
    if name not in schemas:
        from harness.spec.errors import NotFoundError

        raise NotFoundError.named("schema", name, sorted(schemas))
    invocation.output.result(schemas[name], _render)


def _render(data: Any, output: Output) -> None:
    output.line(json.dumps(data, indent=2))
