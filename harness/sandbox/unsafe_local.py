"""The backend `unsafe-local`: the same execd without any isolation, for hosts that allow none. Never the default."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.sandbox import cgroups
from harness.sandbox.base import Check, Sandbox, SandboxSpec
from harness.sandbox.bringing_up import attach_execd, create_execd
from harness.sandbox.folder import SandboxFolder
from harness.sandbox.gpus import claim_gpus
from harness.sandbox.host import Channel
from harness.sandbox.nvidia.driver import Gpu
from harness.sandbox.nvidia.given import environment
from harness.sandbox.this_host import base_environment, disk_folder, run_jail
from harness.spec.errors import MissingError, SandboxUnavailable
from harness.spec.outcome import Death

NAME = "unsafe-local"
ROOT_VARIABLE = "DOJO_ROOT"
_KIND = "ul"
_HINT = "use `--sandbox namespace` where the host allows it"
_LOST = (
    "nothing is isolated: agents run as you; they see and may change your files, network and processes, can read hidden data, "
    "write to read-only places, and can kill or forge anything of dojo. Only open files and each process's memory are limited"
)
_PATHS = (
    f"/workspace, /models/base, /data and the like do not exist; their stand-ins lie below ${ROOT_VARIABLE}. dojo puts those in "
    "where an argument, a variable or a path starts with them; programs that have such paths written inside do not find them"
)


class UnsafeLocalBackend:
    """Creates, finds and destroys places that look like sandboxes and protect nothing."""

    name = NAME
    isolates = False  # the contract suite must not try its attacks here: they would hit the host

    def system(self) -> tuple[str, Callable[[str], bool]]:
        """Return the PATH of agents, and what tells whether they find a file at a path of the host's."""
        return base_environment()["PATH"], os.path.exists

    def check(self) -> list[Check]:
        """Say what is lost."""
        linux = sys.platform == "linux"
        return [
            Check("linux", linux, "found" if linux else f"this is {sys.platform}", "" if linux else "run dojo on Linux"),
            Check("isolation", True, _LOST, _HINT),
            Check("paths", True, _PATHS, _HINT),
        ]

    def create(self, spec: SandboxSpec) -> Sandbox:
        """Make the folders, start execd and wait until it answers; see `Backend.create`."""
        if sys.platform != "linux":
            raise MissingError("execd needs Linux", hint="run dojo on Linux")
        return create_execd(spec, _Host(spec.id))

    def attach(self, id: str) -> Sandbox:
        """Return the running one called ``id``; see `Backend.attach`."""
        host = _Host(id)
        return attach_execd(host.folder.spec(), host)

    def list(self) -> list[str]:
        """Return the ids of all that exists, dead remains included."""
        return SandboxFolder.ids(_KIND)

    def destroy(self, id: str) -> None:
        """Remove ``id`` and all remains of it."""
        _Host(id).destroy()


class _Host:
    """One such place: its folder, and the folder that stands for / inside."""

    def __init__(self, id: str) -> None:
        self.folder = SandboxFolder(_KIND, id)
        self.root = disk_folder() / f"dojo-{os.geteuid()}-{id}"

    def build(self, spec: SandboxSpec) -> None:
        """Claim its GPUs, make what stands for the file system, and start execd."""
        gpus = claim_gpus(self.folder.path, spec.gpu_owner or spec.id, spec.limits.gpus)
        self.root.mkdir(mode=0o700)
        for name in ("workspace", "tmp"):
            (self.root / name).mkdir()
        for mount in spec.mounts:
            target = self.root / mount.target.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(mount.source.resolve())
        answer = run_jail("main", plan=_plan(spec, self, gpus), env={ROOT_VARIABLE: str(self.root)})
        if not answer["ok"]:
            raise SandboxUnavailable(f"execd did not come up: {answer['message']}", hint="`dojo doctor` shows what is there")

    def connect(self, channel: Channel) -> socket.socket:
        """Open a connection to execd."""
        return self.folder.connect(channel)

    def cause_of_death(self) -> Death:
        """Return why it does not answer."""
        return self.folder.cause_of_death()

    def measured(self) -> tuple[float | None, float | None, int]:
        """Nobody counts from outside."""
        return None, None, 0

    def destroy(self) -> None:
        """Remove everything of it."""
        self.folder.remove(self._kill_marked)
        shutil.rmtree(self.root, ignore_errors=True)

    def _kill_marked(self) -> None:
        """Kill every process that was started with this place's variable, execd first."""
        mark = f"{ROOT_VARIABLE}={self.root}".encode()
        for entry in sorted(Path("/proc").glob("[0-9]*"), key=lambda p: int(p.name)):
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)


def _plan(spec: SandboxSpec, host: _Host, gpus: tuple[Gpu, ...]) -> dict[str, Any]:
    moved = {"/workspace", *(m.target for m in spec.mounts)}
    for mount in spec.mounts:
        first = "/" + mount.target.split("/")[1]
        if not os.path.exists(first):
            moved.add(first)
    env = base_environment() | {"TMPDIR": str(host.root / "tmp"), ROOT_VARIABLE: str(host.root)}
    return {
        "folder": str(host.folder.path),
        "mode": "open",
        "workspace": str(host.root / "workspace"),
        "spool": str(host.folder.path / "spool"),
        "paths": {path: f"{host.root}{path}" for path in sorted(moved, key=len, reverse=True)},
        "env": env | environment(gpus, by_id=True) | dict(spec.env),
        "rlimits": cgroups.rlimits(spec.limits, ("memory",)),
        "cgroup_procs": [],
        "oom_counter": "",
        "relays": [[r.port, str(r.socket)] for r in spec.relays],
    }
