"""Would an agent's command start? What can be known of it before a run, without running it.

A program may be part of the sandbox's image, or be there once the agent is installed: what cannot be known is let through, and a
run says how its program ended. What is known to fail is refused: it would be booked as a run of the agent's, with a score of 0.
"""

from __future__ import annotations

import os
import posixpath
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.assets.agent_dir import EXPERIMENTS, Agent
from harness.assets.agent_files import is_part
from harness.assets.installs import TARGET

System = Callable[[str], bool]
"""Whether the sandboxes' system has a file at an absolute path."""

_AGENT = "/agent"
# What sandboxes have on their PATH where the agent sets none; the first is dojo's own.
_DOJO_TOOL = "/opt/dojo/bin/dojo-tool"
# Places that are empty, or hold no programs, when an agent starts.
_NO_PROGRAMS = ("/workspace", "/tmp", "/dev", "/data", "/models", "/proc", "/sys")
_SHELLS = ("sh", "bash", "dash", "ash", "ksh", "zsh")
_SCRIPTED = re.compile(r"(python[\d.]*|node|perl|ruby|Rscript|lua|php)")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_HEAD_BYTES = 64 * 1024
_ELF = b"\x7fELF"
_MARK = b"\xef\xbb\xbf"
# e_machine of ELF, by what `uname -m` says.
_MACHINES = {"x86_64": 0x3E, "aarch64": 0xB7}


@dataclass(frozen=True)
class Fault:
    """Why a command would not start, and what to do about it."""

    message: str
    hint: str


def command_faults(agent: Agent, install: Path | None, system: System | None, path: str = "") -> list[Fault]:
    """Return why an agent's command would not start; nothing where it would, or where nobody can know.

    Args:
        agent: whose.
        install: the folder with what it has installed; None where it needs nothing or nothing is made yet.
        system: what programs the sandboxes' system has; None where that is the image's affair.
        path: the PATH in the sandboxes, where the system is known.
    """
    looked = _Look(agent, install, system, agent.config.env.get("PATH", path))
    return list(looked.command(agent.config.command))


class _Missing(Exception):
    """A program that is known not to start."""

    def __init__(self, message: str, hint: str) -> None:
        self.fault = Fault(message, hint)


@dataclass(frozen=True)
class _Look:
    agent: Agent
    install: Path | None
    system: System | None
    path: str

    def command(self, argv: Sequence[str]) -> Iterator[Fault]:
        try:
            program = _past_env(argv)
            if program:
                self.program(program[0])
                self.script(program)
            self.arguments(argv)
        except _Missing as exc:
            yield exc.fault

    def program(self, name: str, named_by: str = "command") -> None:
        """Refuse a program that is not there or cannot be executed.

        Raises:
            _Missing: says why.
        """
        if not name.strip():
            raise _Missing(f"{named_by}: the program's name is empty", "name the program first, as ['python', '/agent/run.py']")
        if "/" not in name:
            return self._on_path(name, named_by)
        if name.startswith("~"):
            raise _Missing(f"{named_by}: {name!r}: no shell reads a command, and ~ is nothing without one", self._own(name))
        if not name.startswith("/"):
            raise _Missing(
                f"{named_by}: {name!r} is looked for in /workspace, which is empty when the agent starts",
                self._words(name) or self._own(name),
            )
        found = self._find(posixpath.normpath(name), named_by)
        if found is not None:
            self._runs(found, name)
        return None

    def script(self, argv: Sequence[str]) -> None:
        """Refuse the file that an interpreter is given where it is none of the agent's, or no text for it."""
        interpreter = posixpath.basename(argv[0])
        first = next((word for word in argv[1:] if word), "")
        if not first or first.startswith("-") or not (interpreter in _SHELLS or _SCRIPTED.fullmatch(interpreter)):
            return
        if not first.startswith("/"):
            if self._part(first) is not None:
                raise _Missing(
                    f"command: {first!r} is looked for in /workspace, which is empty when the agent starts", self._own(first)
                )
            return
        found = self._find(posixpath.normpath(first), "command")
        if found is not None and found.is_file() and interpreter in _SHELLS:
            line, _, _ = _head(found).partition(b"\n")
            if line.endswith(b"\r"):
                raise _Missing(
                    f"command: {first} has line ends of Windows, which {interpreter} takes for a part of every command in it",
                    _unix(found),
                )

    def arguments(self, argv: Sequence[str]) -> None:
        """Refuse a path below /agent that is not there: nothing can be put there in a run."""
        for word in argv:
            if word.startswith(f"{_AGENT}/"):
                self._find(posixpath.normpath(word), "command")

    def _runs(self, file: Path, name: str, depth: int = 0) -> None:
        """Refuse a file of the agent's, or of its install, that the kernel would not execute."""
        if file.is_dir():
            raise _Missing(f"command: {name} is a folder", self._own(name))
        head = _head(file)
        if not file.stat().st_mode & 0o100:
            raise _Missing(
                f"command: {name} is not executable",
                f"`chmod +x {shlex.quote(str(file))}`, or name its interpreter first: {_with(head, name)}",
            )
        if head.startswith(_ELF):
            return self._machine(head, name)
        if not head.startswith(b"#!"):
            why = "it begins with a byte order mark" if head.startswith(_MARK) else "its first line names no interpreter"
            why = "it is empty" if not head.strip() else why
            raise _Missing(
                f"command: {name} is no program: {why}",
                f"begin it with #!/usr/bin/env python or sh, or write {_with(head, name)}",
            )
        return self._interpreter(file, head, name, depth)

    def _interpreter(self, file: Path, head: bytes, name: str, depth: int) -> None:
        line = head.partition(b"\n")[0]
        if line.endswith(b"\r"):
            raise _Missing(
                f"command: {name} has line ends of Windows: its interpreter would be {_text(line[2:])!r}",
                _unix(file),
            )
        words = line[2:].decode(errors="replace").strip().split(None, 1)
        first = f"the first line of {name}"
        if not words:
            raise _Missing(
                f"command: {first} names no interpreter", f"write #!/usr/bin/env python or sh there, or {_with(head, name)}"
            )
        program = words[0]
        if not program.startswith("/"):
            raise _Missing(f"command: {first} names {program!r}, which is no whole path", f"write #!/usr/bin/env {program} there")
        if posixpath.basename(program) == "env" and len(words) > 1:
            asked = words[1].strip()
            if not asked.startswith("-") and re.search(r"\s", asked):
                raise _Missing(
                    f"command: {first} asks env for a program called {asked!r}: all behind env is one word there",
                    f"write #!{program} -S {asked}",
                )
            if not asked.startswith("-"):
                self.program(asked, first)
        if depth < 4:
            found = self._find(posixpath.normpath(program), first)
            if found is not None:
                self._runs(found, program, depth + 1)

    def _machine(self, head: bytes, name: str) -> None:
        machine = os.uname().machine
        known = _MACHINES.get(machine)
        if self.system is not None and known is not None and len(head) > 20:
            order: str = "little" if head[5] == 1 else "big"
            if int.from_bytes(head[18:20], order) != known:  # type: ignore[arg-type]
                raise _Missing(f"command: {name} is a program for another machine than {machine}", f"build it for {machine}")

    def _find(self, path: str, named_by: str) -> Path | None:
        """Return the file of the agent's, or of its install, at a path in the sandbox; None: elsewhere, not known to be missing.

        Raises:
            _Missing: it is known not to be there.
        """
        if path == _AGENT or path.startswith(f"{_AGENT}/"):
            found = self._part(path.removeprefix(_AGENT).strip("/"))
            if found is None:
                raise _Missing(f"{named_by}: {path} is not there: {self._why_no_part(path)}", self._nearest(path))
            return found
        if path.startswith(f"{TARGET}/"):
            return self._installed(path, named_by)
        if path == _DOJO_TOOL:
            return None
        inside = next((place for place in _NO_PROGRAMS if path.startswith(f"{place}/")), "")
        own = self._from_host(path)
        if inside or own or (self.system is not None and not self.system(path)):
            why = f"nothing is in {inside} when the agent starts" if inside else "sandboxes have no such file"
            hint = f"in a run the agent's folder is /agent: write {own}" if own else self._own(path)
            raise _Missing(f"{named_by}: {path} is not there: {why}", hint)
        return None

    def _installed(self, path: str, named_by: str) -> Path | None:
        if self.agent.config.install is None:
            raise _Missing(
                f"{named_by}: {path} is not there: the agent has nothing installed",
                "add [install] to agent.toml (docs/write-an-agent.md), or name another program",
            )
        if self.install is None:
            return None
        found = self.install / path.removeprefix(TARGET).strip("/")
        if not found.exists():
            raise _Missing(f"{named_by}: {path} is not in what the agent has installed", f"`ls {self.install}` shows what is")
        return found

    def _on_path(self, name: str, named_by: str) -> None:
        known = self.path and self.system is not None
        for folder in self.path.split(":"):
            place = posixpath.normpath(f"{folder or '/workspace'}/{name}")
            if place == _DOJO_TOOL or (folder.startswith(TARGET) and self.install is None and self.agent.config.install):
                return
            mine = folder.startswith((_AGENT, TARGET))
            try:
                if mine and (found := self._find(place, named_by)) is not None and not found.is_dir():
                    return self._runs(found, place)
            except _Missing:
                continue
            if not mine and self.system is not None and self.system(place):
                return
        if known:
            raise _Missing(
                f"{named_by}: there is no program {name!r} in the sandboxes (PATH {self.path})",
                self._words(name) or self._own(name),
            )

    def _part(self, inside: str) -> Path | None:
        """Return what lies at ``inside`` of the agent's directory in a run, where there is something."""
        top = inside.split("/")[0]
        if not all(is_part(part) for part in inside.split("/") if part) or top == EXPERIMENTS:
            return None
        folder = next((shared for shared in self.agent.shared if shared.name == top), None)
        found = folder.parent / inside if folder else self.agent.path / inside
        return found if found.exists() and not found.is_symlink() else None

    def _why_no_part(self, path: str) -> str:
        inside = path.removeprefix(_AGENT).strip("/")
        if (self.agent.path / inside).exists() or (self.agent.path / inside).is_symlink():
            return "hidden files, what Python compiles, experiments and links are left out of a run"
        return f"{self.agent.path.name}/ has no {inside}"

    def _nearest(self, path: str) -> str:
        import difflib

        names = [self._inside(each) for each in self.agent.path.rglob("*") if each.is_file()]
        close = difflib.get_close_matches(path, [f"{_AGENT}/{name}" for name in names], n=1, cutoff=0.6)
        return f"did you mean {close[0]}?" if close else f"put it into {self.agent.path}, or name another in agent.toml"

    def _inside(self, path: Path) -> str:
        return path.relative_to(self.agent.path).as_posix()

    def _from_host(self, path: str) -> str:
        """Return where a path of the host's, into the agent's directory, lies in a run."""
        own = str(self.agent.path)
        return f"{_AGENT}{path.removeprefix(own)}" if path.startswith(f"{own}/") and os.path.exists(path) else ""

    def _words(self, name: str) -> str:
        """Say how a whole command line in one word is written."""
        return f"write each word by itself: {_quoted(name.split())}" if len(name.split()) > 1 else ""

    def _own(self, name: str) -> str:
        """Say where a file of the agent's lies in a run."""
        inside = posixpath.normpath(name.removeprefix("~")).strip("/")
        here = next((each for each in (inside, posixpath.basename(inside)) if each not in ("", ".") and self._part(each)), "")
        if here:
            return f"the agent's folder is /agent in a run: write {_AGENT}/{here}"
        return (
            "what is in the agent's folder lies in /agent; [install] in agent.toml brings programs along (docs/write-an-agent.md)"
        )


def _past_env(argv: Sequence[str]) -> Sequence[str]:
    """Return a command without ``env A=1 …`` before it; nothing where options of env are in the way."""
    if posixpath.basename(argv[0]) != "env" or len(argv) == 1:
        return argv
    rest = [word for number, word in enumerate(argv[1:], 1) if not all(_ASSIGNMENT.match(each) for each in argv[1 : number + 1])]
    return rest if rest and not rest[0].startswith("-") else argv[:1]


def _text(line: bytes) -> str:
    return line.decode(errors="replace").strip(" ")


def _unix(file: Path) -> str:
    return rf"`sed -i 's/\r$//' {shlex.quote(str(file))}`"


def _head(file: Path) -> bytes:
    with file.open("rb") as source:
        return source.read(_HEAD_BYTES)


def _with(head: bytes, name: str) -> str:
    """Return a command that names the interpreter itself."""
    python = name.endswith(".py") or b"python" in head.partition(b"\n")[0] or b"\nimport " in head
    return _quoted(["python" if python else "sh", name])


def _quoted(words: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"
