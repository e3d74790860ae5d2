"""Attacks with hostile agents' directories, given to the code that looks at them and copies them into runs (row 29)."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

from harness.assets.agent_dir import copy_agent, load_agent
from harness.assets.installs import look_up_install
from harness.attack.base import Attack, NotStopped, Where, stopped
from harness.attack.ground import Ground
from harness.spec.errors import SpecError

_MARK = "dojo-attack-hidden-item"
# Looking at any of these directories takes milliseconds; who follows or opens what is in them waits for ever.
_PATIENCE_S = 20.0

Build = Callable[[Path, Path], object]
"""Puts something hostile into an agent's directory; the second folder is the one outside that must stay out of it."""


def _link_to_folder(agent: Path, outside: Path) -> None:
    (agent / "data").symlink_to(outside)


def _socket(agent: Path, outside: Path) -> None:
    here = os.getcwd()
    os.chdir(agent)  # its path may be longer than a socket's may
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("socket")
    finally:
        os.chdir(here)


def _link_for_config(agent: Path, outside: Path) -> None:
    (agent / "agent.toml").rename(outside / "agent.toml")
    (agent / "agent.toml").symlink_to(outside / "agent.toml")


def _pipe_for_config(agent: Path, outside: Path) -> None:
    (agent / "agent.toml").unlink()
    os.mkfifo(agent / "agent.toml")


def _in_the_shared(build: Build) -> Build:
    return lambda agent, outside: build(agent.parent / "reading", outside)


def _deep(agent: Path, outside: Path) -> None:
    (agent / "/".join(["d"] * 400)).mkdir(parents=True)


def _repository(agent: Path, outside: Path) -> None:
    (agent / "HEAD").write_text("ref: refs/heads/main\n")
    (agent / "config").write_text("[core]\n\tfsmonitor = touch /tmp/dojo-attack\n")
    for folder in ("objects", "refs"):
        (agent / folder).mkdir()


HOSTILE: dict[str, Build] = {
    "a link to a hidden file": lambda agent, outside: (agent / "items").symlink_to(outside / "hidden.jsonl"),
    "a link to a folder outside": _link_to_folder,
    "a link to what a process is given": lambda agent, outside: (agent / "environ").symlink_to("/proc/self/environ"),
    "a link that leads nowhere": lambda agent, outside: (agent / "later").symlink_to(outside / "later"),
    "a pipe": lambda agent, outside: os.mkfifo(agent / "pipe"),
    "a socket": _socket,
    "agent.toml as a link": _link_for_config,
    "agent.toml as a pipe": _pipe_for_config,
    "a link in a shared folder": _in_the_shared(lambda agent, outside: (agent / "items").symlink_to(outside / "hidden.jsonl")),
    "a pipe in a shared folder": _in_the_shared(lambda agent, outside: os.mkfifo(agent / "pipe")),
    "a file of 64 GB that is one hole": lambda agent, outside: _hole(agent / "data.bin", 1 << 36),
    "an agent.toml of 64 GB that is one hole": lambda agent, outside: _hole(agent / "agent.toml", 1 << 36),
    "400 folders in one another": _deep,
    "a name that is no UTF-8": lambda agent, outside: open(os.fsencode(agent) + b"/\xff", "wb").close(),
    "a name with a line of the digest in it": lambda agent, outside: (agent / f"a\n{'0' * 64} b").write_text(""),
    "a repository for git": _repository,
}  # fmt: skip


def _hole(path: Path, size: int) -> None:
    with path.open("ab") as file:
        file.truncate(size)


def _made(ground: Ground, build: Build) -> tuple[Path, Path]:
    """Return an agent with a shared folder, and where it must not come."""
    agents, outside = ground.folder(), ground.folder()
    (outside / "hidden.jsonl").write_text(_MARK)
    agent = agents / "evil"
    for folder in (agent, agents / "reading"):
        folder.mkdir()
        (folder / "rows.py").write_text("x = 1\n") if folder != agent else None
    (agent / "agent.toml").write_text('name = "evil"\ncommand = ["true"]\nshared = ["../reading"]\n')
    build(agent, outside)
    return agent, outside


def _hostile_directories(ground: Ground) -> str:
    for what, build in HOSTILE.items():
        agent, _ = _made(ground, build)
        target, began = ground.folder() / "copy", time.monotonic()
        try:
            copy_agent(load_agent(agent), target)
        except SpecError:
            stopped(not target.exists(), f"{what}: something of it was copied before it was refused")
        else:
            raise NotStopped(f"{what} was taken in")
        stopped(time.monotonic() - began < _PATIENCE_S, f"{what}: looking at it took {time.monotonic() - began:.0f} s")
        shutil.rmtree(agent.parent)
    return f"{len(HOSTILE)} directories were refused before anything was copied: {'; '.join(HOSTILE)}"


def _followed(ground: Ground) -> str:
    """Copy as a library does that follows links."""
    agent, _ = _made(ground, HOSTILE["a link to a hidden file"])
    shutil.copytree(agent, ground.folder() / "copy", dirs_exist_ok=True)
    copied = sorted(ground.folder().parent.glob("*/copy/items"))
    stopped(not any(_MARK in path.read_text() for path in copied), "the hidden file lies in the run's copy")
    return "nothing was followed"


def _undigested(agent: Path, outside: Path) -> None:
    (agent / "rows.pyc").write_text("compiled")
    for folder in ("__pycache__", ".mypy_cache", ".git", ".venv", ".vscode"):
        (agent / folder).mkdir()
        (agent / folder / "payload.py").write_text("x = 2")
    for name in (".envrc", ".gitmodules", ".pth"):
        (agent / name).write_text("x")


def _what_is_not_digested_is_not_copied(ground: Ground) -> str:
    clean, _ = _made(ground, lambda agent, outside: None)
    dirty, _ = _made(ground, _undigested)
    target = ground.folder() / "copy"
    copy_agent(load_agent(dirty), target)
    return _compared(load_agent(clean).digest, load_agent(dirty).digest, target)


def _everything_copied(ground: Ground) -> str:
    dirty, _ = _made(ground, _undigested)
    target = ground.folder() / "copy"
    shutil.copytree(dirty, target, ignore=shutil.ignore_patterns("__pycache__", ".git", ".venv"))
    return _compared("", load_agent(dirty).digest, target)


def _compared(clean: str, dirty: str, target: Path) -> str:
    names = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    stopped(names == ["agent.toml", "reading/rows.py"], f"copied, but in no digest: {names}")
    stopped(clean == dirty, "what is not copied changes the digest")
    return "hidden names, caches and compiled files are neither digested nor copied"


def _rights(ground: Ground, copy: Callable[[Path, Path], object]) -> str:
    agent, _ = _made(ground, lambda agent, outside: (agent / "tool").write_bytes(b"#!/bin/sh\n"))
    (agent / "tool").chmod(0o6755)
    (agent / "open").mkdir()
    (agent / "open" / "note").write_text("x")
    (agent / "open").chmod(0o777)
    target = ground.folder() / "copy"
    copy(agent, target)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in target.rglob("*")}
    stopped(modes["tool"] == 0o755, f"a program that runs as {os.geteuid()} for whoever starts it: mode {modes['tool']:o}")
    stopped(modes["open"] == 0o755, f"a folder of the run that anybody may write: mode {modes['open']:o}")
    return "the copy's modes are its own: 0755 for folders and programs, 0644 for the rest; no set-uid, no capability"


def _no_rights_are_copied(ground: Ground) -> str:
    return _rights(ground, lambda agent, target: copy_agent(load_agent(agent), target))


def _rights_copied(ground: Ground) -> str:
    return _rights(ground, lambda agent, target: shutil.copytree(agent, target))


def _changed_in_between(ground: Ground) -> str:
    agent, _ = _made(ground, lambda agent, outside: None)
    loaded = load_agent(agent)
    (agent / "agent.toml").write_text('name = "evil"\ncommand = ["false"]\nshared = ["../reading"]\n')
    target = ground.folder() / "copy"
    try:
        copy_agent(loaded, target)
    except Exception as exc:  # whatever says no
        return f"refused: {exc}"
    raise NotStopped("a run under the digest of what was looked at, with something else in it")


def _lock_that_is_a_link(agent: Path, outside: Path) -> None:
    config = agent / "agent.toml"
    config.write_text(config.read_text() + '[install]\nnpm = "package-lock.json"\n')
    (agent / "package-lock.json").write_text('{"packages": {"x": {"integrity": "sha512-x"}}}')
    (outside / "credentials.json").write_text(f'{{"auths": "{_MARK}"}}')
    (agent / "package.json").symlink_to(outside / "credentials.json")


def _links_as_locks(ground: Ground) -> str:
    agent, _ = _made(ground, _lock_that_is_a_link)
    try:
        look_up_install(load_agent(agent), ground.folder())
    except SpecError as exc:
        stopped("package.json is a link" in exc.message, exc)
        return f"refused before anything was read: {exc.message}"
    raise NotStopped("the host's file was taken for package.json, which is shown to the agent at /opt/agent")


ATTACKS = (
    Attack(
        29, "hostile-agent-directories", Where.ARTEFACT,
        "hand in an agent's directory, or a folder it shares, with links, pipes, sockets, holes, depths and odd names",
        "plain files only, opened without following anything; refused at plan time and again at copying",
        _hostile_directories, _followed,
    ),
    Attack(
        29, "links-as-locks", Where.ARTEFACT,
        "name a link to a file of the host among what says what is to be installed",
        "an agent with links gets nothing installed",
        _links_as_locks,
    ),
    Attack(
        29, "undigested-files", Where.ARTEFACT,
        "carry code and settings in caches, compiled files and hidden names, which no digest covers",
        "one list of files is digested and copied",
        _what_is_not_digested_is_not_copied, _everything_copied,
    ),
    Attack(
        29, "rights-of-the-copy", Where.ARTEFACT,
        "let root copy a set-uid program and a folder open to all",
        "of a file its bytes alone are taken, and whether it is a program",
        _no_rights_are_copied, _rights_copied,
    ),
    Attack(
        29, "changed-while-planned", Where.ARTEFACT,
        "change the directory between its digest and its copy",
        "the digest is taken again of what is copied",
        _changed_in_between,
    ),
)  # fmt: skip
