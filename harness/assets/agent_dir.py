"""Agents: directories with an ``agent.toml``, and what they take along from beside them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.assets.roots import Place, own_roots, places, search_roots
from harness.files import tree_digest
from harness.project import bundled, is_checkout
from harness.spec.agent import AgentConfig, load_agent_config
from harness.spec.errors import NotFoundError, SpecError

# Never part of an agent: neither copied nor looked at.
_NOISE = ("__pycache__", ".git", ".venv")
# Matrix files of experiments with the agent lie in this folder of it; they are no part of the agent.
EXPERIMENTS = "ablations"


@dataclass(frozen=True)
class Agent:
    """An agent's directory.

    Attributes:
        config: its ``agent.toml``.
        path: the directory.
        digest: SHA-256 over its files (experiments aside) and those of the shared folders.
        shared: folders from beside it; in a run they lie in its directory, under their own names.
        shadows: the agent of the same name that it stands before; None where there is none.
    """

    config: AgentConfig
    path: Path
    digest: str
    shared: tuple[Path, ...] = ()
    shadows: Path | None = None

    @property
    def name(self) -> str:
        """The agent's name."""
        return self.config.name


def new_agents_folder(roots: Sequence[Path] | None = None) -> Path:
    """Return where a new agent is made: in the first of the user's own folders, else the checkout's, else ``./agents``."""
    return next(iter(own_roots("agents", roots)), bundled("agents") if is_checkout() else Path("agents").absolute())


def load_agent(path: Path) -> Agent:
    """Read an agent's directory.

    Raises:
        SpecError: its ``agent.toml`` is missing or malformed, or a shared folder is not there or not beside it.
    """
    path = path.resolve()
    config = load_agent_config(path / "agent.toml")
    shared = tuple(_shared(path, name) for name in config.shared)
    digest = tree_digest(path, skip=(EXPERIMENTS,))
    if shared:
        parts = [f"{tree_digest(folder)} {folder.name}\n" for folder in shared]
        digest = hashlib.sha256("".join([digest, *parts]).encode()).hexdigest()
    return Agent(config, path, digest, shared)


def _shared(agent: Path, name: str) -> Path:
    found = (agent / name).resolve()
    if not found.is_dir():
        raise SpecError(f"{agent / 'agent.toml'}: shared: there is no folder {name!r}", hint=f"looked at {found}")
    if agent.parent not in found.parents or found == agent or agent in found.parents:
        raise SpecError(
            f"{agent / 'agent.toml'}: shared: {name!r} is not beside {agent.name}/",
            hint=f"only folders in {agent.parent} and outside the agent can be shared",
        )
    if (agent / found.name).exists():
        raise SpecError(f"{agent / 'agent.toml'}: shared: {agent.name}/ has a {found.name} already", hint="rename one of them")
    return found


def links_of(agent: Agent) -> list[Path]:
    """Return the links in an agent and its shared folders: what they lead to would not be what was digested."""
    found = []
    for place, folders, files in (step for folder in (agent.path, *agent.shared) for step in os.walk(folder)):
        folders[:] = [name for name in folders if name not in _NOISE and not (place == str(agent.path) and name == EXPERIMENTS)]
        found += [path for name in (*folders, *files) if (path := Path(place, name)).is_symlink()]
    return sorted(found)


def refuse_links(agent: Agent) -> None:
    """Let no agent with links into a run.

    Raises:
        SpecError: names the first.
    """
    for link in links_of(agent):
        raise SpecError(
            f"{link} is a link, and an agent is copied whole into its run",
            hint="put the file itself there; `shared` in agent.toml takes folders from beside the agent along",
        )


def copy_agent(agent: Agent, target: Path) -> None:
    """Copy an agent with its shared folders, so that editing it later does not change a run that is planned or resumed.

    Raises:
        SpecError: there are links in it.
    """
    refuse_links(agent)
    noise = shutil.ignore_patterns(*_NOISE)

    def left_out(place: str, names: list[str]) -> set[str]:
        return noise(place, names) | ({EXPERIMENTS} if Path(place) == agent.path else set())

    shutil.copytree(agent.path, target, ignore=left_out, dirs_exist_ok=True)
    for folder in agent.shared:
        shutil.copytree(folder, target / folder.name, ignore=noise, dirs_exist_ok=True)
    for path in [target, *target.rglob("*")]:  # the sandbox's agent user must be able to read it
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def list_agents(roots: Sequence[Path] | None = None) -> list[Agent]:
    """Return all agents by name: those of the user's own folders (see `roots.own_roots`) and dojo's.

    Raises:
        SpecError: an ``agent.toml`` is malformed.
        UsageError: one of the folders does not exist.
    """
    return [_load(place) for place in _places(roots).values()]


def find_agent(name: str, roots: Sequence[Path] | None = None) -> Agent:
    """Return an agent by name (``-`` and ``_`` are alike) or by the path of its directory.

    Raises:
        NotFoundError: no such agent; says which name is near.
        SpecError: its ``agent.toml`` is malformed.
        UsageError: one of the folders does not exist.
    """
    if ("/" in name or name.startswith((".", "~"))) and (Path(name).expanduser() / "agent.toml").is_file():
        return load_agent(Path(name).expanduser())
    known = _places(roots)
    return _load(known[resolve_name(name, list(known))])


def _load(place: Place) -> Agent:
    return replace(load_agent(place.path), shadows=place.shadows)


def resolve_name(name: str, known: Sequence[str]) -> str:
    """Return the one of ``known`` that ``name`` means; ``-`` and ``_`` are alike.

    Raises:
        NotFoundError: none of them.
    """
    for candidate in known:
        if candidate.replace("-", "_") == name.replace("-", "_"):
            return candidate
    raise NotFoundError.named("agent", name, list(known))


def _places(roots: Sequence[Path] | None) -> dict[str, Place]:
    folders = [file.parent for root in search_roots("agents", roots) for file in sorted(root.glob("*/agent.toml"))]
    return places((folder.name, folder) for folder in folders)
