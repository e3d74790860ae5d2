"""Pythons on this host, and copies of them that run anywhere: an agent's packages want an interpreter of their own version."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.spec.agent import AgentInstall
from harness.spec.errors import MissingError

# Never needed by a program that runs: tests, the C side, graphical tools, and what others have installed.
_LEFT_OUT = ("__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "config-*", "*-packages")
_LEFT_OUT_FILES = ("EXTERNALLY-MANAGED", "*.a", "*.pyc", "_tkinter*", "_test*")
_QUESTION_S = 20

_FACTS = """
import json, os, sys, sysconfig
v = sysconfig.get_config_var
print(json.dumps({
    "version": "%d.%d.%d" % sys.version_info[:3],
    "prefix": sys.base_prefix,
    "stdlib": sysconfig.get_path("stdlib"),
    "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "library": os.path.join(v("LIBDIR") or "", v("INSTSONAME") or "") if v("Py_ENABLE_SHARED") else "",
    "platform": sysconfig.get_platform(),
}))
"""

# Asked of a copy: does it stand on its own feet, and what of the host has it loaded?
_SELF_CHECK = """
import bz2, ctypes, hashlib, json, lzma, select, socket, sqlite3, ssl, sys, zlib
with open("/proc/self/maps") as maps:
    loaded = {line.split(None, 5)[5].strip() for line in maps if line.count("/")}
print(json.dumps({"prefix": sys.prefix, "loaded": sorted(path for path in loaded if path.startswith("/"))}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python of this host.

    Attributes:
        version: as ``3.12.1``.
        prefix: where it is installed; ``stdlib`` lies below it.
        executable: the program itself, links followed.
        library: the shared library of the interpreter; empty where it is built in.
        platform: as ``linux-x86_64``.
    """

    version: str
    prefix: str
    stdlib: str
    executable: str
    library: str
    platform: str

    @property
    def minor(self) -> str:
        """Its name among others: ``python3.12``."""
        return f"python{self.version.rsplit('.', 1)[0]}"


def find_interpreter(install: AgentInstall, agent: str) -> Interpreter:
    """Return the first Python here that the lock is for: dojo's own, uv's, pyenv's, then those on the path.

    Raises:
        MissingError: there is none.
    """
    seen = []
    for program in _candidates():
        found = _ask(program)
        if found is None:
            continue
        major, minor = (int(part) for part in found.version.split(".")[:2])
        if install.admits(major, minor):
            return found
        seen.append(found.version)
    wanted = install.python_version.split(",")[0].lstrip("<>=")
    raise MissingError(
        f"agent {agent} needs a Python {install.python_version}; here: {', '.join(dict.fromkeys(seen)) or 'none'}",
        hint=f"`uv python install {wanted}` or `pyenv install {wanted}` gives one; dojo itself may stay on its own",
    )


def _candidates() -> Iterator[str]:
    """Yield programs in a fixed order, so that the same one is found again."""
    yield sys.executable
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or f"{data}/uv/python")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for root in (uv, pyenv):
        yield from (str(path) for path in sorted(root.glob("*/bin/python3")))
    for minor in range(11, 20):
        found = shutil.which(f"python3.{minor}")
        if found:
            yield found


def _ask(program: str) -> Interpreter | None:
    try:
        told = subprocess.run([program, "-I", "-c", _FACTS], capture_output=True, timeout=_QUESTION_S, check=False)
        return Interpreter(**json.loads(told.stdout)) if told.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None  # a stub of a version manager, or a broken installation: not one to use


def copy_interpreter(source: Interpreter, target: Path) -> Path:
    """Copy an interpreter with its standard library and nothing that was installed into it; return the program.

    Raises:
        MissingError: the copy does not run by itself.
    """
    program = target / "bin" / source.minor
    program.parent.mkdir(parents=True)
    shutil.copy(source.executable, program)
    for name in ("python3", "python"):
        (program.parent / name).symlink_to(source.minor)
    stdlib = target / os.path.relpath(source.stdlib, source.prefix)
    shutil.copytree(source.stdlib, stdlib, ignore=_leave_out, ignore_dangling_symlinks=True)
    if source.library:
        library = target / "lib" / Path(source.library).name
        library.parent.mkdir(exist_ok=True)
        shutil.copy(source.library, library)
        _look_beside(program, os.path.dirname(source.library))
    _check_copy(source, target, program)
    return program


def _leave_out(folder: str, names: list[str]) -> set[str]:
    return shutil.ignore_patterns(*_LEFT_OUT, *_LEFT_OUT_FILES)(folder, names)


def _look_beside(program: Path, folder: str) -> None:
    """Let the program look for its library beside itself, not where it was installed: the path is replaced in place."""
    data = program.read_bytes()
    old, new = b"\0" + folder.encode() + b"\0", b"$ORIGIN/../lib"
    at = data.find(old)
    if at >= 0 and len(new) <= len(folder):
        program.write_bytes(data[: at + 1] + new.ljust(len(folder), b"\0") + data[at + 1 + len(folder) :])


def _check_copy(source: Interpreter, target: Path, program: Path) -> None:
    told = subprocess.run(
        [str(program), "-I", "-S", "-c", _SELF_CHECK], capture_output=True, timeout=_QUESTION_S, check=False, env={}, cwd="/"
    )
    hint = f"install another Python {source.version} (`uv python install` gives ones that can be copied)"
    if told.returncode != 0:
        last = (told.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise MissingError(f"a copy of {source.executable} does not run: {last}", hint=hint)
    facts = json.loads(told.stdout)
    real = os.path.realpath(target)
    system = ("/lib", "/usr/lib", "/lib64", "/usr/lib64", real)
    foreign = [path for path in facts["loaded"] if not path.startswith(system) and path != "/"]
    if os.path.realpath(facts["prefix"]) != real or foreign:
        raise MissingError(
            f"a copy of {source.executable} still needs {', '.join(foreign) or facts['prefix']}, which sandboxes do not see",
            hint=hint,
        )
