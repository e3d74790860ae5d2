"""Agents: directories with an ``agent.toml``, and what they take along from beside them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.assets.agent_files import Stranger, copy_files, digest_files, refuse, strangers_in
from harness.assets.roots import Listing, Place, listing, look_in, own_roots, places, search_roots
from harness.project import bundled, is_checkout
from harness.spec.agent import AgentConfig, load_agent_config
from harness.spec.broken import Broken
from harness.spec.errors import NotFoundError, SpecError, UsageError

# Matrix files of experiments with the agent lie in this folder of it; they are no part of the agent.
EXPERIMENTS = "ablations"
# An agent.toml has some kilobytes.
_CONFIG_BYTES = 1024 * 1024


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
    _require_plain(path / "agent.toml")
    config = load_agent_config(path / "agent.toml")
    shared = tuple(_shared(path, name) for name in config.shared)
    try:
        digests = [digest_files(path, (EXPERIMENTS,)), *(digest_files(folder) for folder in shared)]
    except OSError as exc:
        raise SpecError(f"{path}: {exc.filename}: cannot be read: {exc.strerror}", hint="make it readable, or remove it") from exc
    return Agent(config, path, _together(digests, shared), shared)


def _require_plain(path: Path) -> None:
    """Refuse an ``agent.toml`` that is no file: a link would be read, and a pipe or a device waited for."""
    try:
        found = os.lstat(path)
    except OSError:
        return  # what reads it says so
    if not stat.S_ISREG(found.st_mode) or found.st_size > _CONFIG_BYTES:
        raise SpecError(f"{path} is no plain file of at most {_CONFIG_BYTES >> 20} MB", hint="write the file itself there")


def _together(digests: Sequence[str], shared: Sequence[Path]) -> str:
    """Return the digest of an agent, whose own files' comes first, with its shared folders."""
    own, *others = digests
    parts = [f"{digest} {folder.name}\n" for digest, folder in zip(others, shared, strict=True)]
    return hashlib.sha256("".join([own, *parts]).encode()).hexdigest() if parts else own


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


def strangers_of(agent: Agent) -> list[Stranger]:
    """Return what may not be in an agent or its shared folders: links, pipes, sockets, devices, odd names, too much."""
    found = strangers_in(agent.path, (EXPERIMENTS,))
    return [*found, *(stranger for folder in agent.shared for stranger in strangers_in(folder))]


def refuse_strangers(agent: Agent) -> None:
    """Let no agent into a run that holds anything but plain files.

    Raises:
        SpecError: names the first that is none.
    """
    for stranger in strangers_of(agent):
        refuse(stranger)


def copy_agent(agent: Agent, target: Path) -> None:
    """Copy an agent with its shared folders, so that editing it later does not change a run that is planned or resumed.

    Raises:
        SpecError: it holds something else than plain files.
        UsageError: it has changed since it was loaded.
    """
    refuse_strangers(agent)
    digests = [copy_files(agent.path, target, (EXPERIMENTS,))]
    digests += [copy_files(folder, target / folder.name) for folder in agent.shared]
    if _together(digests, agent.shared) != agent.digest:
        raise UsageError(
            f"agent {agent.name} has changed since it was looked at", hint="leave it alone meanwhile, and plan again"
        )


def survey_agents(roots: Sequence[Path] | None = None) -> Listing[Agent]:
    """Return all agents by name, those of the user's own folders (see `roots.own_roots`) and dojo's, and those that are broken.

    Raises:
        UsageError: one of the folders does not exist.
    """
    known, closed = _places(roots)
    return listing(known, _load, closed)


def list_agents(roots: Sequence[Path] | None = None) -> list[Agent]:
    """Return the agents that can be used; see `survey_agents`."""
    return list(survey_agents(roots).found)


def find_agent(name: str, roots: Sequence[Path] | None = None) -> Agent:
    """Return an agent by name (``-`` and ``_`` are alike) or by the path of its directory.

    Raises:
        NotFoundError: no such agent; says which name is near.
        SpecError: its ``agent.toml`` is malformed.
        UsageError: one of the folders does not exist.
    """
    if ("/" in name or name.startswith((".", "~"))) and os.path.lexists(Path(name).expanduser() / "agent.toml"):
        return load_agent(Path(name).expanduser())
    known, closed = _places(roots)
    for broken in closed:
        if broken.name.replace("-", "_") == name.replace("-", "_") and broken.name not in known:
            raise broken.error
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


def _places(roots: Sequence[Path] | None) -> tuple[dict[str, Place], list[Broken]]:
    looked = [look_in(root, "agent.toml", 1) for root in search_roots("agents", roots)]
    named = places((folder.name, folder) for holding, _ in looked for folder in holding)
    return named, [broken for _, closed in looked for broken in closed]
