"""What agents have installed: an interpreter with packages, npm packages with a node, made once from locks into the cache.

A folder of the cache is shown read-only at ``/opt/agent`` in the sandbox an agent runs in, so runs need no network::

    python/bin/python   a copy of an interpreter with the packages of the pip lock
    node_modules/       the packages of the npm lock
    bin/                node, and the programs of the packages that package.json names
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.assets.agent_dir import Agent, refuse_strangers
from harness.assets.interpreters import Interpreter, copy_interpreter, find_interpreter
from harness.files import build_folder, sha256_file
from harness.spec.agent import AgentConfig
from harness.spec.errors import MissingError, SpecError
from harness.spec.progress import Progress

TARGET = "/opt/agent"
"""Where an agent finds its install."""

_MANIFEST = "dojo-manifest.json"
# Part of every digest: raise it when an install is laid out in another way.
_LAYOUT = "1"
_SAID_LINES = 8


@dataclass(frozen=True)
class Install:
    """An agent's install in the cache.

    Attributes:
        path: the folder that is shown at `TARGET`.
        digest: SHA-256 over what it is made from: locks, platform, the interpreter's version.
        manifest: what it holds: versions, and size and SHA-256 of every file.
    """

    path: Path
    digest: str
    manifest: Mapping[str, Any]

    @property
    def bytes(self) -> int:
        """What it takes on disk."""
        return sum(size for size, _ in self.manifest["files"].values())


def install_path(digest: str, cache: Path) -> Path:
    """Return where an install lies, or would."""
    return cache / "installs" / digest


def require_install(path: Path, agent: str) -> Path:
    """Return the folder of an install that a run was planned with.

    Raises:
        MissingError: it is not in the cache.
    """
    if not (path / _MANIFEST).is_file():
        raise MissingError(
            f"what agent {agent} has installed is not in the cache any more ({path})",
            hint=f"`dojo agents install {agent}` makes it; if that gives another than {path.name[:12]}, submit the agent anew",
        )
    return path


def prepare_install(agent: Agent, cache: Path, progress: Progress | None = None) -> Install | None:
    """Return what an agent needs installed, making it in the cache (minutes, network) where it is not there yet.

    Returns:
        None where the agent has no ``[install]``.

    Raises:
        SpecError: a lock is missing or does not pin by hash, or the agent holds something else than plain files.
        MissingError: a Python, npm or the network is missing.
    """
    if agent.config.install is None:
        return None
    say = progress or (lambda _: None)
    locks, interpreter = _inputs(agent)
    digest = _digest(locks, interpreter)
    target = install_path(digest, cache)
    if not (target / _MANIFEST).is_file():
        with build_folder(target) as folder:
            if folder is not None:
                say(f"installing what {agent.name} needs, once: {_words(agent.config, interpreter)}")
                _build(agent.config, locks, interpreter, folder, say)
                manifest = _write_manifest(folder, digest, locks, interpreter)
                megabytes = sum(size for size, _ in manifest["files"].values()) / 1e6
                say(f"installed {agent.name}: {megabytes:,.0f} MB in {target}")
    return _read(target, digest)


def look_up_install(agent: Agent, cache: Path) -> Install | None:
    """Return an agent's install where it is made already.

    Raises:
        SpecError: a lock is missing or does not pin by hash, or the agent holds something else than plain files.
        MissingError: a Python is missing, or the install is not whole.
    """
    if agent.config.install is None:
        return None
    digest = _digest(*_inputs(agent))
    target = install_path(digest, cache)
    return _read(target, digest) if target.exists() else None


def verify_install(install: Install) -> None:
    """Compare every file of an install with its manifest (seconds).

    Raises:
        MissingError: something was changed, added or lost.
    """
    found = _files(install.path)
    recorded = {name: tuple(entry) for name, entry in install.manifest["files"].items()}
    wrong = sorted(name for name in found.keys() | recorded.keys() if found.get(name) != recorded.get(name))
    if wrong:
        raise MissingError(
            f"{install.path / wrong[0]} is not what was installed ({len(wrong)} files differ)",
            hint=f"remove {install.path}; the next submit or `dojo agents install` makes it anew",
        )


def _read(path: Path, digest: str) -> Install:
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        if manifest["digest"] != digest:
            raise ValueError(manifest["digest"])
        return Install(path, digest, manifest)
    except (OSError, ValueError, KeyError) as exc:
        raise MissingError(f"{path} is no whole install: {exc}", hint=f"remove {path}; it is made anew then") from exc


def _inputs(agent: Agent) -> tuple[dict[str, bytes], Interpreter | None]:
    """Return what decides an install: its locks and the interpreter it is made with.

    The locks are shown to the agent with the install, so an agent with links in it gets none.
    """
    refuse_strangers(agent)
    install = agent.config.install
    assert install is not None
    locks = _locks(agent.config, agent.path)
    return locks, find_interpreter(install, agent.name) if install.python else None


def _locks(config: AgentConfig, folder: Path) -> dict[str, bytes]:
    """Return the files that decide what is installed.

    Raises:
        SpecError: one is missing, or pins nothing.
    """
    install = config.install
    assert install is not None
    names = [install.python] if install.python else []
    names += [install.npm, "package.json"] if install.npm else []
    found = {}
    for name in names:
        path = folder / name
        if not path.is_file():
            raise SpecError(f"{folder / 'agent.toml'}: install names {name}, which is not there", hint=f"put it into {folder}")
        found[name] = path.read_bytes()
    if install.python and b"--hash=sha256:" not in found[install.python]:
        raise SpecError(
            f"{folder / install.python} pins nothing by hash",
            hint=f"make it by `uv pip compile --generate-hashes --no-annotate requirements.in -o {install.python}`",
        )
    if install.npm and b'"integrity"' not in found[install.npm]:
        raise SpecError(f"{folder / install.npm} pins nothing by hash", hint="make it by `npm install --package-lock-only`")
    return found


def _digest(locks: Mapping[str, bytes], interpreter: Interpreter | None) -> str:
    lines = [_LAYOUT, platform.system(), platform.machine(), platform.libc_ver()[0], interpreter.version if interpreter else ""]
    lines += [f"{name} {hashlib.sha256(data).hexdigest()}" for name, data in sorted(locks.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _words(config: AgentConfig, interpreter: Interpreter | None) -> str:
    install = config.install
    parts = [f"Python {interpreter.version} with {install.python}" if install and interpreter else ""]
    parts += [f"npm packages of {install.npm}" if install and install.npm else ""]
    return " and ".join(part for part in parts if part)


def _build(config: AgentConfig, locks: Mapping[str, bytes], interpreter: Interpreter | None, folder: Path, say: Progress) -> None:
    for name, data in locks.items():
        (folder / name).write_bytes(data)
    if interpreter is not None:
        program = copy_interpreter(interpreter, folder / "python")
        _pip(config, program, folder, say)
    if config.install and config.install.npm:
        _npm(config, folder, say)
    _freeze(folder)


def _pip(config: AgentConfig, program: Path, folder: Path, say: Progress) -> None:
    assert config.install is not None
    command = [*_pip_command(program), "install", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-compile"]
    command += ["--no-warn-script-location", "--disable-pip-version-check", "--no-input"]
    command += ["-r", str(folder / config.install.python)]
    _tool(command, config.name, "pip", folder, say)
    for script in sorted(path for place in ("bin", "local/bin") for path in folder.glob(f"python/{place}/*")):  # local: Debian's
        if script.is_file() and not script.is_symlink():
            data = script.read_bytes()
            if data.startswith(b"#!"):  # its first lines name this folder, which is moved and shown elsewhere
                script.write_bytes(data.replace(str(folder).encode(), TARGET.encode()))
    say(f"{config.name}: compiling")
    # once for all runs: the place is read-only there. Unchecked: nothing changes there that a check would find.
    compile_all = [str(program), "-I", "-m", "compileall", "-q", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*compile_all, "-s", str(folder), "-p", TARGET, str(folder / "python")], check=False)


def _pip_command(program: Path) -> list[str]:
    """Return how to call a pip that installs into ``program``'s own place: dojo's, else the one that came with it."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "--python", str(program)]
    bundled = sorted(program.parents[1].glob("lib*/python3*/ensurepip/_bundled/pip-*.whl"))
    if bundled:
        return [str(program), f"{bundled[-1]}/pip"]
    raise MissingError("there is no pip here to install an agent's packages with", hint=f"`{sys.executable} -m ensurepip`")


def _npm(config: AgentConfig, folder: Path, say: Progress) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise MissingError(
            f"agent {config.name} is installed by npm, which is not on the path",
            hint="install Node 20 or newer with npm; runs themselves do not need it",
        )
    # scripts of packages are not run: they would run as whoever installs
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--no-progress", "--loglevel=error"]
    _tool(command, config.name, "npm", folder, say)
    for unused in (path for part in ("include", "share") for path in folder.glob(f"node_modules/node-linux-*/{part}")):
        shutil.rmtree(unused)  # headers and manuals, a third of it
    (folder / "bin").mkdir()
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    names = [*wanted.get("dependencies", {}), *wanted.get("optionalDependencies", {})]
    for name in names:
        package = folder / "node_modules" / name / "package.json"
        if not package.is_file():
            continue  # of another platform
        programs = json.loads(package.read_text(encoding="utf-8")).get("bin", {})
        if isinstance(programs, str):
            programs = {name.split("/")[-1]: programs}
        for called, file in programs.items():
            (folder / "node_modules" / name / file).chmod(0o755)
            (folder / "bin" / called).symlink_to(f"../node_modules/{name}/{os.path.normpath(file)}")


def _tool(command: Sequence[str], agent: str, tool: str, folder: Path, say: Progress) -> None:
    """Run pip or npm; tell what is large to fetch, and the last lines where it fails."""
    environment = {**os.environ, "PIP_USER": "0", "PYTHONNOUSERSITE": "1", "npm_config_update_notifier": "false"}
    said: list[str] = []
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            for line in process.stdout or ():
                said = [*said, line.strip()][-_SAID_LINES:]
                if "Downloading" in line and line.rstrip().endswith("MB)"):
                    say(f"{agent}: {line.strip().split('/')[-1]}")
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise MissingError(
            f"agent {agent}: {tool} ended with exit code {process.returncode}: {' | '.join(said[-3:]) or 'it said nothing'}",
            hint=f"it needs the package index once; `dojo agents install {agent}` tries again, runs are offline afterwards",
        )


def _freeze(folder: Path) -> None:
    """Let nobody write the files; folders stay removable by their owner."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o555 if path.stat().st_mode & stat.S_IXUSR else 0o444)


def _write_manifest(folder: Path, digest: str, locks: Mapping[str, bytes], interpreter: Interpreter | None) -> dict[str, Any]:
    manifest = {
        "layout": _LAYOUT,
        "digest": digest,
        "platform": f"{platform.system()}-{platform.machine()}".lower(),
        "python": interpreter.version if interpreter else "",
        "locks": {name: hashlib.sha256(data).hexdigest() for name, data in locks.items()},
        "files": _files(folder),
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return manifest


def _files(folder: Path) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of every file, and where links lead."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (*files, *(each for each in folders if Path(place, each).is_symlink())):
            path = Path(place, name)
            inside = path.relative_to(folder).as_posix()
            if path.is_symlink():
                found[inside] = (0, f"-> {os.readlink(path)}")
            elif inside != _MANIFEST:
                found[inside] = (path.stat().st_size, sha256_file(path))
    return found
