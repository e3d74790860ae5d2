"""Commands with one of their places broken, each in a fork of this process with mounts of its own: ``driver FOLDER TASKS``.

Prints a JSON object a line: place, fault, command, exit code, standard error, and the exit code once the fault was mended.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from harness.cli.main import main

COMMANDS = {
    "cache": ("data secret", "data list", "data prepare test/parity --profile mini", "doctor host", "doctor data"),
    "home": ("reindex", "status", "tag @last x", "doctor host"),
    "tmp": ("tasks new x/y --to {}/new", "status", "doctor host"),
}
VARIABLES = {"cache": "DOJO_CACHE", "home": "DOJO_HOME", "tmp": "TMPDIR"}
NOBODY = 65534


class Fault(NamedTuple):
    """How a place breaks, and how it is mended as the hint says."""

    spoil: Callable[[Path], None]
    mend: Callable[[Path], None]
    name: bytes = b"place"
    as_user: bool = False


def mounted(path: Path, options: str) -> None:
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "test", path], check=True)


def full(path: Path) -> None:
    mounted(path, "size=64k,nr_inodes=12")
    with contextlib.suppress(OSError):
        for number in range(99):
            (path / f"{number}").touch()


def read_only(path: Path) -> None:
    mounted(path, "size=9m")
    remount(path, "ro")


def remount(path: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", path], check=True)


def shut(path: Path) -> None:
    path.mkdir()
    path.chmod(0)


def in_the_way(path: Path) -> None:
    path.write_text("a file")


def elsewhere(path: Path) -> None:
    """Set the variable to another place."""
    for place, variable in VARIABLES.items():
        if os.environ[variable] == str(path):
            os.environ[variable] = tempfile.mkdtemp(dir=os.environ["OTHER"], prefix=place)


def clear(path: Path) -> None:
    """Remove what lies there."""
    path.unlink()
    path.mkdir(mode=0o700)


def below(path: Path) -> None:
    path.parent.write_text("a file")


FAULTS = {
    "no space": Fault(full, lambda path: remount(path, "size=9m,nr_inodes=999")),
    "read-only": Fault(read_only, lambda path: remount(path, "rw")),
    "no permission": Fault(shut, lambda path: path.chmod(0o700), as_user=True),
    "a file in its place": Fault(in_the_way, clear),
    "below a file": Fault(below, elsewhere, b"file/place"),
    "a link to itself": Fault(lambda path: path.symlink_to(path), clear),
    "too long": Fault(lambda path: None, elsewhere, b"x" * 300),
    "not UTF-8": Fault(lambda path: None, elsewhere, b"\xff\xfe"),
}


def call(command: str) -> tuple[int, str]:
    tempfile.tempdir = None
    said, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(err):
        code = main(command.split())
    return code, err.getvalue()


def tried(folder: Path, place: str, fault: Fault, command: str) -> dict[str, object]:
    """Break the place, call, mend it, call again."""
    for each, variable in VARIABLES.items():
        os.environ[variable] = str(folder / each)
        (folder / each).mkdir(mode=0o700)
    (folder / "other").mkdir()
    os.environ["OTHER"] = str(folder / "other")
    bad = Path(os.fsdecode(os.fsencode(folder) + b"/" + fault.name))
    os.environ[VARIABLES[place]] = str(bad)
    os.chdir(folder)
    fault.spoil(bad)
    if fault.as_user and os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", folder], check=True)
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    code, err = call(command)
    fault.mend(bad)
    again, err_again = call(command) if code == 3 else (code, "")
    return {"code": code, "err": err, "again": again, "err_again": err_again, "path": ascii(str(bad))[1:-1]}


def run(folder: Path) -> None:
    import harness.service.data

    harness.service.data.prepare_base_model = lambda *_: None
    good = folder / "good"
    good.mkdir()
    os.environ.update({variable: str(good / place) for place, variable in VARIABLES.items()})
    (good / "home").mkdir(parents=True)
    (good / "tmp").mkdir()
    os.chdir(good)
    for command in {command for commands in COMMANDS.values() for command in commands}:
        call(command.format(good))  # what it imports may not be readable for the user of some cases
    for place, commands in COMMANDS.items():
        for name, fault in FAULTS.items():
            for number, command in enumerate(commands):
                own = folder / f"{place}-{name.replace(' ', '-')}-{number}"
                own.mkdir(mode=0o755)
                sys.stdout.flush()
                if child := os.fork():
                    os.waitpid(child, 0)
                    continue
                try:
                    said = tried(own, place, fault, command.format(own))
                    print(json.dumps({"place": place, "fault": name, "command": command, **said}), flush=True)
                finally:
                    os._exit(0)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
