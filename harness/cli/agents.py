"""``dojo agents``: who there is to run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.base import Command, Invocation, LazyGroup, pass_invocation
from harness.cli.commands import AGENTS
from harness.cli.complete import agents as complete_agents
from harness.cli.output import Output
from harness.cli.sanitise import one_line
from harness.cli.tasks import note_broken, note_shadows
from harness.spec.errors import DojoError

if TYPE_CHECKING:
    from harness.assets.new_agent import AgentKind
    from harness.service import Dojo


@click.group(cls=LazyGroup, table=AGENTS, default="list")
def agents() -> None:
    """Agents: programs that solve tasks, a directory with an agent.toml each."""


@click.command("list", cls=Command)
@pass_invocation
def list_agents(invocation: Invocation) -> None:
    """List agents with what they are and need."""
    invocation.output.result(invocation.dojo().list_agents(), _render_list)


@click.command("check", cls=Command)
@click.argument("agent", shell_complete=complete_agents)
@click.option("--live", is_flag=True, help="Run it too, for up to a minute, with a script for a language model.")
@pass_invocation
def check_agent(invocation: Invocation, agent: str, live: bool) -> int:
    """Check an agent's directory (a name or a path) and what it has installed; exit code 2 where something is wrong.

    With --live it is run in a real sandbox on a mini task, and what it did is told: calls to the model, commands, how it ended.
    """
    from harness.cli.doctor import report_checks
    from harness.cli.progress import preparing

    output, dojo = invocation.output, invocation.dojo()
    checks = dojo.check_agent(agent)
    if live and all(check.ok for check in checks if check.name != "README.md"):  # without the others it cannot start
        checks += dojo.try_agent(agent, progress=preparing(output))
    return report_checks(output, checks, exit_code=2, code="check_failed")


@click.command("install", cls=Command)
@click.argument("agents", nargs=-1, shell_complete=complete_agents)
@click.option("--all", "everything", is_flag=True, help="Every agent that needs something installed.")
@pass_invocation
def install_agents(invocation: Invocation, agents: tuple[str, ...], everything: bool) -> int:
    """Make what agents need installed (an interpreter with packages, npm packages), once, from the locks beside agent.toml.

    It needs the package indexes; runs need no network afterwards. `dojo submit` does the same for the agents it is given. What is
    there already is checked, file by file. Exit code 3 where something could not be had.
    """
    from harness.cli.progress import preparing

    output, dojo = invocation.output, invocation.dojo()
    if bool(agents) == everything:
        raise click.UsageError("name agents, or give --all")
    if everything:
        survey = dojo.survey_agents()
        agents = tuple(agent.name for agent in survey.found if agent.config.install)
        for broken in survey.broken:
            output.say(one_line(f"left out: {broken.message}"))
    names = agents
    rows = [_installed(dojo, name, preparing(output)) for name in names]
    bad = [row for row in rows if row["error"]]
    if bad:
        first = bad[0]["error"]
        output.problem({"installs": rows}, _render_installs, first["code"], first["message"], first["hint"])
        return 3
    output.result({"installs": rows}, _render_installs)
    return 0


@click.command("new", cls=Command)
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["shell", "python", "llm", "cli"]),
    default="shell",
    show_default=True,
    help="A shell script, a Python program, a loop around a language model, or a program from npm.",
)
@click.option(
    "--in",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Parent directory (default: your first folder of agents).",
)
@pass_invocation
def new_agent(invocation: Invocation, name: str, kind: AgentKind, folder: Path | None) -> None:
    """Start an agent from a working example of its kind; it can be submitted as it is."""
    made = invocation.dojo().new_agent(name, folder, kind)
    needs = made.config.backbone == "required"
    invocation.output.result({"agent": made.name, "path": made.path, "backbone": needs}, _render_new)


def _installed(dojo: Dojo, name: str, progress: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"agent": name, "digest": None, "path": None, "bytes": 0, "python": None, "error": None}
    try:
        install = dojo.install_agent(name, progress)
    except DojoError as exc:
        return row | {"error": exc.as_dict()}
    if install is None:
        return row
    facts = {"digest": install.digest, "path": install.path, "bytes": install.bytes, "python": install.manifest["python"]}
    return row | facts


def _render_list(data: Any, output: Output) -> None:
    rows = [(a["name"], a["version"], a["placement"], a["backbone"], a["description"]) for a in data["agents"]]
    output.table(("agent", "version", "placement", "backbone", "about"), rows)
    note_shadows(output, [(a["name"], a["shadows"]) for a in data["agents"]])
    note_broken(output, data["broken"])


def _render_installs(data: Any, output: Output) -> None:
    rows = [
        (
            row["agent"],
            "not installed" if row["error"] else (row["digest"] or "needs nothing")[:12],
            f"{row['bytes'] / 1e6:,.0f} MB" if row["bytes"] else "",
            row["python"] or "",
            row["error"]["message"] if row["error"] else str(row["path"] or ""),
        )
        for row in data["installs"]
    ]
    output.table(("agent", "install", "size", "python", "where"), rows)


def _render_new(data: Any, output: Output) -> None:
    more = " --backbone NAME" if data["backbone"] else ""
    output.line(f"made {data['path']}")
    output.line(f"check: dojo agents check {data['path']} --live")
    output.line(f"try:   dojo submit --agent {data['path']} --task math/aime25 --profile mini{more}")
