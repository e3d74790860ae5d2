"""What backends on this host share: the program that brings execd up, the environment inside, and checks of a specification."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import harness
from harness.sandbox.base import SandboxSpec
from harness.sandbox.jail import shown
from harness.spec.errors import SandboxError

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LAUNCH_TIMEOUT_S = 60.0


def base_environment() -> dict[str, str]:
    """Return the environment every command starts from; nothing of the host's is in it."""
    return {
        "PATH": f"/opt/dojo/bin:{sys.prefix}/bin:{SYSTEM_PATH}",
        "PYTHONPATH": "/opt/dojo/lib",
        "HOME": "/workspace",
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",
    }


def package_folder() -> str:
    """Return where this package lies: agents must not reach it, and bare interpreters import from it."""
    return str(Path(harness.__file__).resolve().parent)


def shown_pythons() -> list[str]:
    """Return the paths of this Python, and of the one that it was made from, that sandboxes on this host's system are shown."""
    prefixes = sorted({os.path.abspath(sys.base_prefix), os.path.abspath(sys.prefix)})
    return [path for prefix in prefixes for path in shown.python(prefix)]


def hidden_folders() -> list[str]:
    """Return what agents must not see of dojo inside folders that are shown to them, as an installed wheel is inside Python's.

    The package, with tasks and graders in it, and the record of its files beside it.
    """
    records = {str(found.resolve()) for entry in sys.path for found in Path(entry).glob("dojo_bench-*.dist-info")}
    return [package_folder(), *sorted(records)]


def shows(path: Path) -> bool:
    """Whether sandboxes on this host's system are shown a path beside what is mounted for them; links on the way are followed."""
    folders = {os.path.realpath(there) for there in (*shown.system(), *shown_pythons())}
    ways = {os.path.realpath(path), os.path.abspath(path)}

    def within(places: Iterable[str]) -> bool:
        return any(way == place or way.startswith(f"{place}/") for way in ways for place in places)

    return within(folders) and not within(hidden_folders())


def has(path: str) -> bool:
    """Whether sandboxes on this host's system find a file at a path of it."""
    return os.path.exists(path) and shows(Path(path))


def disk_folder() -> Path:
    """Return where what sandboxes write lies on the host: on a real disk, not in memory."""
    return Path("/var/tmp") if os.access("/var/tmp", os.W_OK) else Path("/tmp")


def check_spec(spec: SandboxSpec) -> None:
    """Refuse what cannot be mounted.

    Raises:
        SandboxError: names the mount (code ``missing_mount`` or ``bad_mount``).
    """
    for mount in spec.mounts:
        if not mount.source.exists():
            raise SandboxError(f"{mount.source} is to be shown at {mount.target} but does not exist", code="missing_mount")
        if not mount.target.startswith("/") or os.path.normpath(mount.target) != mount.target or mount.target == "/":
            raise SandboxError(
                f"{mount.target!r} cannot be a mount's target", hint="give a plain absolute path", code="bad_mount"
            )
    for relay in spec.relays:
        if not relay.socket.parent.is_dir():
            raise SandboxError(f"the folder of the relay's socket {relay.socket} does not exist", code="missing_mount")


def run_jail(
    function: str, *arguments: str, plan: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run a function of `jail.make` in a bare interpreter of its own and return what it said (``ok``, ``step``, ``message``).

    The interpreter sees neither site-packages nor the environment, so it starts fast and passes nothing on; nor does it take over
    the caller's umask, which would decide what the agent may read of the places made for it, or a SIGCHLD that is ignored, which
    would keep it from its children's endings.
    """
    code = "import signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_DFL); signal.pthread_sigmask(signal.SIG_SETMASK, ()); "
    code += f"sys.path.append(sys.argv[1]); from sandbox.jail.make import {function}; {function}()"
    command = [os.path.realpath(sys.executable), "-I", "-S", "-c", code, package_folder(), *arguments]
    done = subprocess.run(
        command,
        input=json.dumps(plan).encode(),
        capture_output=True,
        timeout=_LAUNCH_TIMEOUT_S,
        check=False,
        umask=0o022,
        env={"LC_ALL": "C.UTF-8", **(env or {})},
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        answer = {"ok": False, "step": "start", "errno": None, "message": done.stderr.decode(errors="replace")[-500:].strip()}
    return answer
