"""Checks of an agent before it costs anything: `dojo agents check`, and what `submit` asks of each one."""

from __future__ import annotations

from pathlib import Path

from harness.assets.agent_command import Fault, command_faults
from harness.assets.agent_dir import Agent, strangers_of
from harness.assets.agent_files import left_out_of
from harness.assets.installs import look_up_install, verify_install
from harness.sandbox.base import Backend, Check
from harness.spec.errors import DojoError, SpecError


def check_agent(agent: Agent, cache: Path, backend: Backend | None = None) -> list[Check]:
    """Check an agent's directory: its command must start, and what it has installed must be as it was made.

    Args:
        agent: which.
        cache: where installs lie.
        backend: where the sandboxes are made; of one whose system is known the programs are looked for there too.
    """
    faults = faults_of(agent, installed(agent, cache), backend)
    command = agent.config.command
    strangers = strangers_of(agent)
    hidden = left_out_of(agent.path)
    files = f"plain files; left out: {', '.join(hidden)}" if hidden else "plain files"
    checks = [
        Check("agent.toml", True, f"{agent.config.name} {agent.config.version}"),
        Check("command", not faults, faults[0].message if faults else " ".join(command), faults[0].hint if faults else ""),
        Check("files", not strangers, "; ".join(map(str, strangers)) or files, strangers[0].hint if strangers else ""),
        Check("README.md", (agent.path / "README.md").is_file(), "says what the agent does", "write one"),
    ]
    return [*checks, _install_check(agent, cache)] if agent.config.install else checks


def faults_of(agent: Agent, install: Path | None, backend: Backend | None) -> list[Fault]:
    """Return why an agent's command would not start in a backend's sandboxes; see `command_faults`."""
    path, system = getattr(backend, "system", lambda: ("", None))()
    return command_faults(agent, install, system, path)


def refuse_command(agent: Agent, install: Path | None, backend: Backend) -> None:
    """Let no agent into a run whose command is known not to start.

    Raises:
        SpecError: says why, and what to do.
    """
    for fault in faults_of(agent, install, backend):
        raise SpecError(f"agent {agent.name}: {fault.message}", hint=fault.hint)


def installed(agent: Agent, cache: Path) -> Path | None:
    """Return the folder with what an agent has installed; None where there is none, or it is not whole."""
    try:
        install = look_up_install(agent, cache)
    except DojoError:
        return None
    return install.path if install else None


def _install_check(agent: Agent, cache: Path) -> Check:
    try:
        install = look_up_install(agent, cache)
        if install is None:
            return Check("install", True, f"not made yet: `dojo agents install {agent.name}`, or the first submit, makes it")
        verify_install(install)
    except DojoError as exc:
        return Check("install", False, exc.message, exc.hint)
    return Check("install", True, f"{install.digest[:12]}, {install.bytes / 1e6:,.0f} MB, every file as it was made")
