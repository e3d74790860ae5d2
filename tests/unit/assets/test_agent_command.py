"""An agent's command before its start: what is known to fail is refused with its remedy, what nobody knows is let through."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.assets.agent_command import command_faults
from harness.assets.agent_dir import load_agent
from harness.executor.agent_checks import check_agent
from harness.sandbox.registry import get_backend

PROGRAMS = {"/usr/bin/env", "/bin/sh", "/usr/bin/python", "/usr/bin/python3", "/usr/bin/bash", "/usr/bin/perl", "/usr/bin/sh"}
PATH = "/opt/dojo/bin:/usr/bin:/bin"
ELF = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x02\x00"


def written(folder: Path, command: list[str], files: dict[str, bytes], more: str = "") -> Path:
    """Write an agent; a name that ends with ``*`` is executable."""
    folder.mkdir(parents=True)
    words = ", ".join(f"'{word}'" for word in command)
    (folder / "agent.toml").write_text(f'name = "{folder.name}"\ncommand = [{words}]\n{more}')
    for name, data in files.items():
        path = folder / name.rstrip("*")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if name.endswith("*") else 0o644)
    return folder


def faults(folder: Path, known: bool = True, install: Path | None = None) -> list[str]:
    agent = load_agent(folder)
    system = PROGRAMS.__contains__ if known else None
    return [f"{fault.message} → {fault.hint}" for fault in command_faults(agent, install, system, PATH if known else "")]


SH = b"#!/bin/sh\ntrue\n"
PY = b"#!/usr/bin/env python\n"
# Command, files, what is said, and what changes by doing it: the command, the files, or both (None: by the hint's command).
BROKEN: dict[str, tuple[list[str], dict[str, bytes], str, Any]] = {
    "the program is missing": (["/agent/run.sh"], {}, "/agent/run.sh is not there: mine/ has no run.sh", {"run.sh*": SH}),
    "the program's name is mistyped": (["/agent/rum.sh"], {"run.sh*": SH}, "did you mean /agent/run.sh?", ["/agent/run.sh"]),
    "the program is not executable": (["/agent/run.sh"], {"run.sh": SH}, "/agent/run.sh is not executable → `chmod +x", None),
    "a Python program is not executable": (
        ["/agent/r.py"],
        {"r.py": b"import os\n"},
        'name its interpreter first: ["python", "/agent/r.py"]',
        ["python", "/agent/r.py"],
    ),
    "line ends of Windows after the interpreter": (
        ["/agent/run.sh"],
        {"run.sh*": SH.replace(b"\n", b"\r\n")},
        "has line ends of Windows: its interpreter would be '/bin/sh\\r'",
        None,
    ),
    "line ends of Windows after env": (
        ["/agent/r.py"],
        {"r.py*": b"#!/usr/bin/env python\r\nx = 1\r\n"},
        "line ends of Windows",
        None,
    ),
    "line ends of Windows in a script for sh": (
        ["sh", "/agent/run.sh"],
        {"run.sh": b"set -e\r\ntrue\r\n"},
        "which sh takes for a part of every command",
        None,
    ),
    "no interpreter is named": (
        ["/agent/run"],
        {"run*": b"echo\n"},
        "is no program: its first line names no interpreter",
        {"run*": b"#!/bin/sh\necho\n"},
    ),
    "a Python program names no interpreter": (
        ["/agent/r.py"],
        {"r.py*": b"import os\n"},
        'write ["python", "/agent/r.py"]',
        ["python", "/agent/r.py"],
    ),
    "a byte order mark before the interpreter": (
        ["/agent/run.sh"],
        {"run.sh*": b"\xef\xbb\xbf" + SH},
        "it begins with a byte order mark",
        {"run.sh*": SH},
    ),
    "an empty program": (["/agent/run.sh"], {"run.sh*": b""}, "is no program: it is empty", {"run.sh*": SH}),
    "nothing behind #!": (["/agent/run.sh"], {"run.sh*": b"#!\ntrue\n"}, "names no interpreter", {"run.sh*": SH}),
    "an interpreter that is not there": (
        ["/agent/run.sh"],
        {"run.sh*": b"#!/usr/bin/fish\n"},
        "the first line of /agent/run.sh: /usr/bin/fish is not there: sandboxes have no such file",
        {"run.sh*": SH},
    ),
    "an interpreter by its bare name": (
        ["/agent/run.sh"],
        {"run.sh*": b"#!bash\n"},
        "write #!/usr/bin/env bash there",
        {"run.sh*": b"#!/usr/bin/env bash\n"},
    ),
    "an interpreter that env does not find": (
        ["/agent/r"],
        {"r*": b"#!/usr/bin/env node\n"},
        "the first line of /agent/r: there is no program 'node'",
        {"r*": PY},
    ),
    "two words behind env": (
        ["/agent/r.py"],
        {"r.py*": b"#!/usr/bin/env python -u\n"},
        "write #!/usr/bin/env -S python -u",
        {"r.py*": b"#!/usr/bin/env -S python -u\n"},
    ),
    "an interpreter of the agent's that is not executable": (
        ["/agent/r"],
        {"r*": b"#!/agent/mine\n", "mine": SH},
        "/agent/mine is not executable",
        {"mine*": SH, "r*": b"#!/agent/mine\n"},
    ),
    "a folder": (["/agent/bin"], {"bin/run": SH}, "/agent/bin is a folder", (["/agent/bin/run"], {"bin/run*": SH})),
    "a relative path": (
        ["./run.sh"],
        {"run.sh*": SH},
        "in /workspace, which is empty when the agent starts → the agent's folder is /agent in a run: write /agent/run.sh",
        ["/agent/run.sh"],
    ),
    "a bare name of a file of its own": (
        ["run.sh"],
        {"run.sh*": SH},
        "there is no program 'run.sh' in the sandboxes",
        ["/agent/run.sh"],
    ),
    "a script by a relative path": (
        ["python", "r.py"],
        {"r.py": PY},
        "'r.py' is looked for in /workspace",
        ["python", "/agent/r.py"],
    ),
    "a path of the host": (
        ["HOST/run.sh"],
        {"run.sh*": SH},
        "in a run the agent's folder is /agent: write /agent/run.sh",
        ["/agent/run.sh"],
    ),
    "a home folder": (["~/run.sh"], {"run.sh*": SH}, "no shell reads a command", ["/agent/run.sh"]),
    "the workspace": (
        ["/workspace/run.sh"],
        {"run.sh*": SH},
        "nothing is in /workspace when the agent starts",
        ["/agent/run.sh"],
    ),
    "a whole line in one word": (
        ["python /agent/r.py"],
        {"r.py": PY},
        'write each word by itself: ["python", "/agent/r.py"]',
        ["python", "/agent/r.py"],
    ),
    "a program that the system has not": (
        ["node", "/agent/x.js"],
        {"x.js": b""},
        "there is no program 'node' in the sandboxes (PATH /opt/dojo/bin",
        ["python", "/agent/x.js"],
    ),
    "a script that is missing": (["python", "/agent/r.py"], {}, "/agent/r.py is not there", {"r.py": PY}),
    "a second file that is missing": (
        ["sh", "/agent/r.sh", "/agent/c.json"],
        {"r.sh": SH},
        "/agent/c.json is not there",
        {"r.sh": SH, "c.json": b"{}"},
    ),
    "a hidden file": (
        ["/agent/.bin/run"],
        {".bin/run*": SH},
        "hidden files, what Python compiles",
        (["/agent/bin/run"], {"bin/run*": SH}),
    ),
    "an environment of the author's": (
        ["/agent/.venv/bin/python", "/agent/r.py"],
        {".venv/bin/python*": ELF, "r.py": PY},
        "hidden files",
        ["python", "/agent/r.py"],
    ),
    "something installed that nothing installs": (
        ["/opt/agent/python/bin/python"],
        {},
        "the agent has nothing installed",
        ["python"],
    ),
    "an empty name": ([""], {}, "the program's name is empty", ["python"]),
    "env before what is missing": (["env", "A=1", "/agent/run.sh"], {}, "/agent/run.sh is not there", {"run.sh*": SH}),
}


@pytest.mark.parametrize(("command", "files", "said", "mended"), BROKEN.values(), ids=BROKEN)
def test_a_command_that_cannot_start_is_refused_with_its_cause_and_the_remedy_works(
    command: list[str], files: dict[str, bytes], said: str, mended: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    written(folder, [word.replace("HOST", str(folder)) for word in command], files)
    found = faults(folder)
    assert len(found) == 1 and said in found[0], found
    if mended is None:
        subprocess.run(["sh", "-c", found[0].split("→")[1].split("`")[1]], check=True, timeout=20)
    else:
        command, files = (
            mended if isinstance(mended, tuple) else (command, mended) if isinstance(mended, dict) else (mended, files)
        )
        folder = written(tmp_path / "again" / "mine", command, files)
    assert faults(folder) == []


GOOD: dict[str, tuple[list[str], dict[str, bytes]]] = {
    "a script with its interpreter": (["/agent/run.sh"], {"run.sh*": SH}),
    "a script by env": (["/agent/r.py"], {"r.py*": PY}),
    "options behind env": (["/agent/r.py"], {"r.py*": b"#!/usr/bin/env -S python -u\n"}),
    "an option of the interpreter": (["/agent/r"], {"r*": b"#!/bin/sh -e\n"}),
    "blanks before the interpreter": (["/agent/r"], {"r*": b"#! /bin/sh\n"}),
    "a Python program with line ends of Windows": (["python", "/agent/r.py"], {"r.py": b"import os\r\n"}),
    "a file that need not be executable": (["sh", "/agent/run.sh"], {"run.sh": SH}),
    "a folder for Python": (["python", "/agent/pkg"], {"pkg/__main__.py": PY}),
    "a module": (["python", "-m", "mine"], {"mine.py": PY}),
    "words of a shell": (["sh", "-c", "cd /agent && ./run.sh"], {"run.sh*": SH}),
    "a program of the agent's": (["/agent/r"], {"r*": ELF + (0x3E).to_bytes(2, "little") + b"\0" * 40}),
    "dojo's own tool": (["dojo-tool", "task"], {}),
    "dojo's own tool by its path": (["/opt/dojo/bin/dojo-tool", "task"], {}),
    "a path with dots": (["/agent/./bin/../run.sh"], {"run.sh*": SH, "bin/x": b""}),
    "env with variables": (["env", "A=1", "B=2", "sh", "/agent/run.sh"], {"run.sh": SH}),
}


@pytest.mark.parametrize(("command", "files"), GOOD.values(), ids=GOOD)
def test_a_command_that_can_start_is_let_through(command: list[str], files: dict[str, bytes], tmp_path: Path) -> None:
    assert faults(written(tmp_path / "mine", command, files)) == []


UNKNOWN: dict[str, tuple[list[str], dict[str, bytes]]] = {
    "a program of the image": (["node", "/agent/x.js"], {"x.js": b""}),
    "a program at a place of the image": (["/usr/games/play"], {}),
    "an interpreter of the image": (["/agent/r"], {"r*": b"#!/usr/bin/fish\n"}),
    "an interpreter that env finds in the image": (["/agent/r"], {"r*": b"#!/usr/bin/env node\n"}),
    "a program for another machine": (["/agent/r"], {"r*": ELF + b"\xf3\x00" + b"\0" * 40}),
}


@pytest.mark.parametrize(("command", "files"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_only_the_image_can_tell_is_let_through_and_known_where_the_system_is_this_hosts(
    command: list[str], files: dict[str, bytes], tmp_path: Path
) -> None:
    folder = written(tmp_path / "mine", command, files)
    assert faults(folder, known=False) == [] and len(faults(folder)) == 1


def test_what_will_be_installed_is_let_through_and_looked_for_once_it_is(tmp_path: Path) -> None:
    more = '[install]\npython = "r.lock"\n'
    folder = written(tmp_path / "mine", ["/opt/agent/python/bin/python", "-V"], {"r.lock": b""}, more)
    install = tmp_path / "install"
    install.mkdir()
    assert faults(folder) == []
    assert "is not in what the agent has installed" in faults(folder, install=install)[0]
    (install / "python" / "bin").mkdir(parents=True)
    (install / "python" / "bin" / "python").symlink_to("python3")
    (install / "python" / "bin" / "python3").write_bytes(SH)
    (install / "python" / "bin" / "python3").chmod(0o755)
    assert faults(folder, install=install) == []


def test_a_path_of_its_own_is_what_programs_are_looked_for_in(tmp_path: Path) -> None:
    folder = written(tmp_path / "mine", ["run"], {"bin/run*": SH}, '[env]\nPATH = "/agent/bin:/usr/bin"\n')
    assert faults(folder) == []
    other = written(tmp_path / "other" / "mine", ["dojo-tool"], {}, '[env]\nPATH = "/usr/bin"\n')
    assert "there is no program 'dojo-tool' in the sandboxes (PATH /usr/bin)" in faults(other)[0]


def test_the_folders_it_shares_are_a_part_of_it(tmp_path: Path) -> None:
    written(tmp_path / "agents" / "tools", ["true"], {"go.sh": SH})
    folder = written(tmp_path / "agents" / "mine", ["sh", "/agent/tools/go.sh"], {}, 'shared = ["../tools"]\n')
    assert faults(folder) == []


@pytest.mark.parametrize("name", ["namespace", "unsafe-local"])
def test_a_backend_on_this_host_knows_its_programs(name: str, tmp_path: Path) -> None:
    backend = get_backend(name)
    for number, (command, ok) in enumerate(((["sh", "-c", "true"], True), (["no-such-program-anywhere"], False))):
        checks = check_agent(load_agent(written(tmp_path / f"a{number}", command, {})), tmp_path, backend)
        assert [check.ok for check in checks if check.name == "command"] == [ok]
