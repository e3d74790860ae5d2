"""The backend `namespace`: Linux namespaces, a read-only system, control groups. Needs root or user namespaces, and no daemon."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.sandbox import cgroups
from harness.sandbox.base import Check, Sandbox, SandboxSpec
from harness.sandbox.bringing_up import attach_execd, create_execd
from harness.sandbox.folder import SandboxFolder
from harness.sandbox.gpus import claim_gpus
from harness.sandbox.host import Channel
from harness.sandbox.host_disk import await_release, disk_kind, image_path
from harness.sandbox.nvidia.driver import usable
from harness.sandbox.nvidia.given import Given, give
from harness.sandbox.sandbox_user import ONE_USER_REMEDY, SandboxUser, likely_user, sandbox_user
from harness.sandbox.this_host import base_environment, disk_folder, has, hidden_folders, run_jail, shown_pythons, shows
from harness.spec.errors import DojoError, IsolationUnavailable, SandboxUnavailable
from harness.spec.outcome import Death

NAME = "namespace"
_KIND = "sb"
_REMEDY = (
    "run as root, or enable user namespaces (sysctl user.max_user_namespaces=10000; on Debian "
    "kernel.unprivileged_userns_clone=1; on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0); "
    "in a container add --privileged. "
    "`--sandbox unsafe-local` runs without any isolation: agents then see the host's files, network and processes"
)


class NamespaceBackend:
    """Creates, finds and destroys `namespace` sandboxes."""

    name = NAME

    def shows(self, path: Path) -> bool:
        """Whether every sandbox is shown this path of the host, as part of its system."""
        return shows(path)

    def another_user(self) -> bool:
        """Whether commands inside run as another user of the host than this process."""
        return likely_user()[0] == "privileged"

    def system(self) -> tuple[str, Callable[[str], bool]]:
        """Return the PATH in sandboxes, and what tells whether they find a file at a path of the system's."""
        return base_environment()["PATH"], has

    def check(self) -> list[Check]:
        """Say what isolates and what limits on this host."""
        return [_check_isolation(), *_check_limits(), _check_disk(), _check_gpus()]

    def create(self, spec: SandboxSpec) -> Sandbox:
        """Make a sandbox and wait until it answers; see `Backend.create`."""
        return create_execd(spec, _Host(spec.id))

    def attach(self, id: str) -> Sandbox:
        """Return the running sandbox ``id``; see `Backend.attach`."""
        host = _Host(id)
        return attach_execd(host.folder.spec(), host)

    def list(self) -> list[str]:
        """Return the ids of all that exists, dead remains included."""
        return sorted({*SandboxFolder.ids(_KIND), *cgroups.Group.names(cgroups.find_hierarchies())})

    def destroy(self, id: str) -> None:
        """Remove ``id`` and all remains of it."""
        _Host(id).destroy()


class _Host:
    """One sandbox on this host: its folder and its control group."""

    def __init__(self, id: str) -> None:
        self.folder = SandboxFolder(_KIND, id)
        self.group = cgroups.Group(cgroups.find_hierarchies(), id)
        self.image = image_path(id)

    def build(self, spec: SandboxSpec) -> None:
        """Claim its GPUs and its user, make its control group, start execd in namespaces."""
        gpus = give(claim_gpus(self.folder.path, spec.gpu_owner or spec.id, spec.limits.gpus))
        user = sandbox_user(self.folder.path)
        self.group.create(spec.limits)
        _launch(_plan(spec, self, gpus, user))

    def connect(self, channel: Channel) -> socket.socket:
        """Open a connection to execd."""
        return self.folder.connect(channel)

    def cause_of_death(self) -> Death:
        """Return why it does not answer."""
        return self.folder.cause_of_death()

    def measured(self) -> tuple[float | None, float | None, int]:
        """Return what the control group counted."""
        try:
            return self.group.cpu_s(), self.group.memory_peak_mb(), self.group.oom_kills()
        except FileNotFoundError:
            return None, None, 0

    def destroy(self) -> None:
        """Remove everything of it."""
        self.folder.remove(self.group.kill)
        self.group.remove()
        with contextlib.suppress(FileNotFoundError):
            self.image.unlink()
        await_release(self.image)


def _plan(spec: SandboxSpec, host: _Host, gpus: Given, user: SandboxUser) -> dict[str, Any]:
    """Return what `jail.make` is told."""
    kind, mkfs = disk_kind()
    environment = base_environment()
    if gpus.program_folder is not None and not has(str(gpus.program_folder)):
        environment["PATH"] += f":{gpus.program_folder}"
    return {
        "folder": str(host.folder.path),
        "mode": user.mode,
        "agent": user.inside,
        "maps": user.maps,
        "disk": {"kind": kind, "size_mb": spec.limits.disk_mb, "image": str(host.image), "mkfs": mkfs if kind == "ext4" else ""},
        "exposed": [*shown_pythons(), *(str(path) for path in gpus.files if not shows(path))],
        "hidden": hidden_folders(),
        "binds": [{"source": str(m.source.resolve()), "target": m.target, "writable": m.writable} for m in spec.mounts],
        "gpus": list(gpus.nodes),
        "driver": dict(gpus.proc),
        "env": environment | dict(gpus.env) | dict(spec.env),
        "rlimits": cgroups.rlimits(spec.limits, cgroups.find_hierarchies().missing) | user.rlimits,
        "cgroup_procs": host.group.procs_files,
        "oom_counter": host.group.oom_counter,
        "relays": [[r.port, str(r.socket)] for r in spec.relays],
    }


def _launch(plan: dict[str, Any]) -> None:
    """Make the sandbox.

    Raises:
        IsolationUnavailable: the host does not let us make namespaces or mounts.
        SandboxUnavailable: anything else went wrong.
    """
    answer = run_jail("main", plan=plan)
    if answer["ok"]:
        return
    if answer["step"] in ("namespaces", "network", "/proc"):
        raise IsolationUnavailable(f"this host cannot isolate a sandbox: {answer['message']}", hint=_REMEDY)
    raise SandboxUnavailable(f"the sandbox did not come up: {answer['message']}", hint="`dojo doctor` shows what is there")


def _check_isolation() -> Check:
    mode, maps = likely_user()
    answer = run_jail("probe", mode, json.dumps(maps))
    if not answer["ok"]:
        return Check("isolation", False, answer["message"], _REMEDY)
    if maps:
        return Check("isolation", True, "user namespaces; commands of each sandbox run as a subordinate user of its own")
    if mode == "privileged":
        return Check(
            "isolation", True, "namespaces as root; commands of each sandbox run as a user of its own under a system call filter"
        )
    return Check(
        "isolation",
        True,
        "user namespaces; one user id, so every command has process and user namespaces of its own (commands of one "
        "sandbox do not see each other's processes, `root` inside owns the same files as `agent`, and all sandboxes share what "
        "the kernel counts for you: pipe buffers, queued signals)",
        ONE_USER_REMEDY,
    )


def _check_limits() -> list[Check]:
    found = cgroups.find_hierarchies()
    fallback = {
        "memory": "RLIMIT_DATA instead of control groups: it holds for each process alone, and nothing tells that it was reached",
        "pids": "RLIMIT_NPROC instead of control groups",
        "cpu": "not limited: commands may use every core",
    }
    return [
        Check(f"{name} limit", True, fallback[name], "run as root on a host with control groups")
        if name in found.missing
        else Check(f"{name} limit", True, f"control groups version {found.version}")
        for name in cgroups.CONTROLLERS
    ]


def _check_disk() -> Check:
    kind, detail = disk_kind()
    if kind == "ext4":
        return Check("disk limit", True, f"an ext4 image for each sandbox in {disk_folder()}")
    return Check("disk limit", True, f"a tmpfs of that size, which counts as memory: {detail}")


def _check_gpus() -> Check:
    try:
        gpus = usable()
        give(gpus)
    except DojoError as exc:  # runs without GPUs are none the worse
        return Check("gpus", True, f"sandboxes with gpus > 0 are refused: {exc.message}", exc.hint)
    if not gpus:
        return Check("gpus", True, "no NVIDIA device here; sandboxes with gpus > 0 are refused")
    return Check("gpus", True, f"{', '.join(gpu.words for gpu in gpus)}; a sandbox is shown its own")
