"""Agents: directories with an ``agent.toml``, and what they take along from beside them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.files import sha256_file, tree_digest
from harness.spec.agent import AgentConfig, load_agent_config
from harness.spec.errors import NotFoundError, SpecError

_PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Agent:
    """An agent's directory.

    Attributes:
        config: its ``agent.toml``.
        path: the directory.
        digest: SHA-256 over its files and the included ones.
        included: files and folders from beside it; in a run they lie in its directory, under their own names.
    """

    config: AgentConfig
    path: Path
    digest: str
    included: tuple[Path, ...] = ()

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
        SpecError: its ``agent.toml`` is missing or malformed, or includes what is not there or not beside it.
    """
    path = path.resolve()
    config = load_agent_config(path / "agent.toml")
    included = tuple(_included(path, name) for name in config.include)
    digest = tree_digest(path)
    if included:
        parts = [f"{tree_digest(p) if p.is_dir() else sha256_file(p)} {p.name}\n" for p in included]
        digest = hashlib.sha256("".join([digest, *parts]).encode()).hexdigest()
    return Agent(config, path, digest, included)


def _included(agent: Path, name: str) -> Path:
    found = (agent / name).resolve()
    if not found.exists():
        raise SpecError(f"{agent / 'agent.toml'}: include: there is no {name!r}", hint=f"looked at {found}")
    if agent.parent not in found.parents or found == agent or agent in found.parents:
        raise SpecError(
            f"{agent / 'agent.toml'}: include: {name!r} is not beside {agent.name}/",
            hint=f"only what lies in {agent.parent} and outside the agent can be included",
        )
    if (agent / found.name).exists():
        raise SpecError(f"{agent / 'agent.toml'}: include: {agent.name}/ has a {found.name} already", hint="rename one of them")
    return found


def copy_agent(agent: Agent, target: Path) -> None:
    """Copy an agent with what it includes, so that editing it later does not change a run that is planned or resumed."""
    noise = shutil.ignore_patterns("__pycache__", ".git", ".venv")
    shutil.copytree(agent.path, target, ignore=noise, dirs_exist_ok=True)
    for source in agent.included:
        if source.is_dir():
            shutil.copytree(source, target / source.name, ignore=noise, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, target / source.name)
    for path in [target, *target.rglob("*")]:  # the sandbox's agent user must be able to read it
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


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
