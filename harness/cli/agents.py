"""``dojo agents``: who there is to run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.base import Command, Invocation, LazyGroup, pass_invocation
from harness.cli.commands import AGENTS
from harness.cli.complete import agents as complete_agents
from harness.cli.output import Output
from harness.cli.tasks import note_shadows

if TYPE_CHECKING:
    from harness.assets.agent_dir import Agent


@click.group(cls=LazyGroup, table=AGENTS, default="list")
def agents() -> None:
    """Agents: programs that solve tasks, a directory with an agent.toml each."""


@click.command("list", cls=Command)
@pass_invocation
def list_agents(invocation: Invocation) -> None:
    """List agents with what they are and need."""
    invocation.output.result({"agents": [_summary(agent) for agent in invocation.dojo().agents()]}, _render_list)


@click.command("check", cls=Command)
@click.argument("agent", shell_complete=complete_agents)
@pass_invocation
def check_agent(invocation: Invocation, agent: str) -> int:
    """Check an agent's directory (a name or a path); exit code 2 where something is wrong."""
    from harness.cli.doctor import report_checks

    return report_checks(invocation.output, invocation.dojo().check_agent(agent), exit_code=2, code="check_failed")


@click.command("new", cls=Command)
@click.argument("name")
@click.option(
    "--in",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Parent directory (default: your first folder of agents).",
)
@pass_invocation
def new_agent(invocation: Invocation, name: str, folder: Path | None) -> None:
    """Start an agent from a working example: a shell script that hands something in and can already be submitted."""
    made = invocation.dojo().new_agent(name, folder)
    invocation.output.result({"agent": made.name, "path": made.path}, _render_new)


def _summary(agent: Agent) -> dict[str, Any]:
    config = agent.config
    return {
        "name": config.name,
        "version": config.version,
        "description": config.description,
        "placement": config.placement,
        "backbone": config.backbone,
        "params": config.params,
        "digest": agent.digest,
        "shadows": agent.shadows,
    }


def _render_list(data: Any, output: Output) -> None:
    rows = [(a["name"], a["version"], a["placement"], a["backbone"], a["description"]) for a in data["agents"]]
    output.table(("agent", "version", "placement", "backbone", "about"), rows)
    note_shadows(output, [(a["name"], a["shadows"]) for a in data["agents"]])


def _render_new(data: Any, output: Output) -> None:
    output.line(f"made {data['path']}")
    output.line(f"check: dojo agents check {data['path']}")
    output.line(f"try:   dojo submit --agent {data['path']} --task math/aime25 --profile mini")
