"""Agents: directories with an ``agent.toml``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.assets.tree import tree_digest
from harness.spec.agent import AgentConfig, load_agent_config
from harness.spec.errors import NotFoundError

_PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Agent:
    """An agent's directory.

    Attributes:
        config: its ``agent.toml``.
        path: the directory.
        digest: SHA-256 over its files.
    """

    config: AgentConfig
    path: Path
    digest: str

    @property
    def name(self) -> str:
        """The agent's name."""
        return self.config.name


def agent_roots(roots: Sequence[Path] | None = None) -> list[Path]:
    """Directories to look for agents in: the given ones, else ``$DOJO_AGENTS`` (``:`` between them), else the project's."""
    return list(roots) if roots is not None else roots_from("DOJO_AGENTS", _PROJECT / "agents")


def roots_from(variable: str, default: Path) -> list[Path]:
    """Read a ``:``-separated list of directories from the environment."""
    value = os.environ.get(variable, "")
    return [Path(part).expanduser() for part in value.split(":") if part] or [default]


def load_agent(path: Path) -> Agent:
    """Read an agent's directory.

    Raises:
        SpecError: its ``agent.toml`` is missing or malformed.
    """
    path = path.resolve()
    return Agent(load_agent_config(path / "agent.toml"), path, tree_digest(path))


def list_agents(roots: Sequence[Path] | None = None) -> list[Agent]:
    """Return all agents of all roots by name; of two with one name the first root's counts.

    Raises:
        SpecError: an ``agent.toml`` is malformed.
    """
    return [load_agent(path) for _, path in sorted(_directories(roots).items())]


def find_agent(name: str, roots: Sequence[Path] | None = None) -> Agent:
    """Return an agent by name (``-`` and ``_`` are alike) or by the path of its directory.

    Raises:
        NotFoundError: no such agent; says which name is near.
        SpecError: its ``agent.toml`` is malformed.
    """
    if ("/" in name or name.startswith(".")) and (Path(name).expanduser() / "agent.toml").is_file():
        return load_agent(Path(name).expanduser())
    known = _directories(roots)
    return load_agent(known[resolve_name(name, sorted(known))])


def resolve_name(name: str, known: Sequence[str]) -> str:
    """Return the one of ``known`` that ``name`` means; ``-`` and ``_`` are alike.

    Raises:
        NotFoundError: none of them.
    """
    for candidate in known:
        if candidate.replace("-", "_") == name.replace("-", "_"):
            return candidate
    raise NotFoundError.named("agent", name, list(known))


def _directories(roots: Sequence[Path] | None) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for root in agent_roots(roots):
        for file in sorted(root.glob("*/agent.toml")):
            found.setdefault(file.parent.name, file.parent)
    return found
