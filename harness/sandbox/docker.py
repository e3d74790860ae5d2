"""The backend `docker`: containers of a Docker engine on this host, with execd as their first process.

A container has a read-only system from an image, no network, no capability that its own server does not need, and the engine's
own seccomp profile and masks below execd's filter. Its folder on the host, with execd's sockets, is shown to root inside only.
Where the harness is root, the commands' limits are control groups of ours, so that execd answers when they are reached, and the
disk is a mounted image; the container's own limits stand a little above as a second wall.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.sandbox import cgroups, engine, images, uids
from harness.sandbox.base import Check, Sandbox, SandboxSpec
from harness.sandbox.bringing_up import attach_execd, create_execd
from harness.sandbox.docker_checks import checks
from harness.sandbox.execd.settings import PRIVATE_DIR
from harness.sandbox.folder import SandboxFolder
from harness.sandbox.gpus import claim_gpus
from harness.sandbox.host import Channel
from harness.sandbox.host_disk import PLACES, HostDisk, disk_kind
from harness.sandbox.jail.rootfs import accounts
from harness.sandbox.nvidia.driver import Gpu
from harness.sandbox.nvidia.given import environment
from harness.sandbox.this_host import SYSTEM_PATH, base_environment, package_folder
from harness.spec.errors import DojoError, MissingError, SandboxError, SandboxUnavailable
from harness.spec.outcome import Cause, Death

if TYPE_CHECKING:
    from docker.models.containers import Container

NAME = "docker"
RUNTIME_VARIABLE = "DOJO_DOCKER_RUNTIME"
_KIND = "dk"
_GROUPS = "dojo-docker"
_ID_LABEL, _OWNER_LABEL = "org.dojo.sandbox", "org.dojo.owner"
_SERVICE = "/usr/lib/dojo-service"
_ENTRY = ["python3", "-I", "-S", "-c"]
_PROGRAM = f"import sys; sys.path.append({_SERVICE!r}); from sandbox.jail.container import main; main()"
# what execd keeps (`syscalls.KEPT_CAPS`); commands of the agent have none
_CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "NET_BIND_SERVICE"]
# what execd and its workers may take beside the commands
_RESERVE_MB, _RESERVE_PIDS, _RESERVE_CPUS = 256, 128, 0.5
_START_S = 120.0
_LOG_LINES = 15


class DockerBackend:
    """Creates, finds and destroys `docker` sandboxes."""

    name = NAME

    def another_user(self) -> bool:
        """Whether commands inside run as another user of the host than this process."""
        return True

    def check(self) -> list[Check]:
        """Say what the engine gives on this host."""
        return checks()

    def has_image(self, name: str, gpus: int) -> bool:
        """Whether the engine has an image, in the variant for so many GPUs.

        Raises:
            MissingError, SandboxUnavailable: no engine answers.
        """
        from docker.errors import ImageNotFound

        docker, called = engine.client(), images.reference(name, _variant(gpus))
        with engine.speaking(f"looking for the image {called}"):
            try:
                docker.images.get(called)
            except ImageNotFound:
                return False
        return True

    def create(self, spec: SandboxSpec) -> Sandbox:
        """Make a sandbox and wait until it answers; see `Backend.create`."""
        return create_execd(spec, _Host(spec.id))

    def attach(self, id: str) -> Sandbox:
        """Return the running sandbox ``id``; see `Backend.attach`."""
        host = _Host(id)
        return attach_execd(host.folder.spec(), host)

    def list(self) -> list[str]:
        """Return the ids of all that exists, dead remains included; without an engine, what lies on this host."""
        found = {*SandboxFolder.ids(_KIND), *cgroups.Group.names(cgroups.find_hierarchies(), _GROUPS)}
        with contextlib.suppress(MissingError):
            docker = engine.client()
            with engine.speaking("listing containers"):
                mine = {"label": [f"{_OWNER_LABEL}={os.geteuid()}", _ID_LABEL]}
                found |= {c.labels[_ID_LABEL] for c in docker.containers.list(all=True, filters=mine, ignore_removed=True)}
        return sorted(found)

    def destroy(self, id: str) -> None:
        """Remove ``id`` and all remains of it.

        Raises:
            MissingError, SandboxUnavailable: there are some, and no engine answers that could remove them.
        """
        _Host(id).destroy()


class _Host:
    """One sandbox on this host: its folder, its container, its control group and its disk."""

    def __init__(self, id: str) -> None:
        self.folder = SandboxFolder(_KIND, id)
        self.group = cgroups.Group(cgroups.find_hierarchies(), id, _GROUPS)
        self.disk = HostDisk(self.folder.path / "disk", id)
        self.container_name = f"dojo-{os.geteuid()}-{id}"
        self._asked = self.folder.path / "asked"  # from here on there may be a container

    def build(self, spec: SandboxSpec) -> None:
        """Claim its GPUs and its user, make disk, control group and container, start it and wait until execd listens.

        Raises:
            MissingError: no engine, no image, no such runtime.
            SandboxError, SandboxUnavailable: the engine refuses or fails; the container ended, or did not answer in time.
        """
        docker = engine.client()
        gpus = claim_gpus(self.folder.path, spec.gpu_owner or spec.id, spec.limits.gpus)
        image = images.reference(spec.image, _variant(spec.limits.gpus))
        with engine.speaking(f"looking for the image {image}"):
            image_env = dict(entry.split("=", 1) for entry in docker.images.get(image).attrs["Config"].get("Env") or ())
        agent = uids.claim(self.folder.path, uids.small_span() if _rootless() else uids.own_span())
        if disk_kind()[0] == "ext4":
            self.disk.create(spec.limits.disk_mb, agent)
        self.group.create(spec.limits)
        self._write_plan(spec, image_env, gpus, agent)
        self._asked.touch()
        with engine.speaking(f"making the container {self.container_name}"):
            container = docker.containers.create(image, **self._container(spec, gpus, agent))
        with engine.speaking(f"starting the container {self.container_name}"):
            container.start()
        self._await_execd()

    def _await_execd(self) -> None:
        deadline = time.monotonic() + _START_S
        while True:
            with contextlib.suppress(OSError):
                self.folder.connect("commands").close()
                return
            container = self._container_found()
            if container is None or container.status == "exited" or time.monotonic() > deadline:
                death = self.cause_of_death()
                raise SandboxUnavailable(
                    f"the sandbox {self.folder.id!r} did not come up: {death.text}",
                    hint="the image needs python3 3.11 or newer; `dojo images verify` looks at it",
                    death=death,
                )
            time.sleep(0.02)

    def _write_plan(self, spec: SandboxSpec, image_env: dict[str, str], gpus: tuple[Gpu, ...], agent: int) -> None:
        """Leave in the folder what execd is told."""
        path = image_env.pop("PATH", SYSTEM_PATH)
        counter = self.group.oom_counter or _own_oom_counter()
        given = environment(gpus) if gpus else {}
        plan = {
            "mode": "privileged",
            "agent": agent,
            "owner": 0 if _rootless() else os.geteuid(),
            "env": {**image_env, **base_environment(), "PATH": f"/opt/dojo/bin:{path}", **given, **spec.env},
            "rlimits": cgroups.rlimits(spec.limits, ()),
            "cgroup_procs": [_inside_group(file) for file in self.group.procs_files],
            "oom_counter": _inside_group(counter) if self.group.oom_counter else counter,
            "relays": [[r.port, f"{PRIVATE_DIR}/relay{n}/{r.socket.name}"] for n, r in enumerate(spec.relays)],
        }
        part = self.folder.path / "plan.json"
        part.touch(0o600)
        part.write_text(json.dumps(plan))
        for name, text in accounts(agent).items():
            file = self.folder.path / _account_file(name)
            file.write_text(text)
            file.chmod(0o644)

    def _container(self, spec: SandboxSpec, gpus: tuple[Gpu, ...], agent: int) -> dict[str, Any]:
        """Return what the engine is asked for."""
        from docker.types import DeviceRequest, LogConfig, Ulimit

        limits = spec.limits
        own_group = bool(self.group.procs_files)
        options: dict[str, Any] = {
            "name": self.container_name,
            "entrypoint": _ENTRY,
            "command": [_PROGRAM],
            "user": "0:0",
            "working_dir": "/",
            "hostname": "sandbox",
            "network_mode": "none",
            "sysctls": {"net.ipv6.conf.all.disable_ipv6": "0"} if Path("/proc/sys/net/ipv6").exists() else {},
            "read_only": True,
            "cap_drop": ["ALL"],
            "cap_add": _CAPABILITIES,
            "security_opt": ["no-new-privileges:true", "label=disable"],
            "mem_limit": f"{limits.memory_mb + _RESERVE_MB}m",
            "memswap_limit": f"{limits.memory_mb + _RESERVE_MB}m",
            "pids_limit": limits.pids + _RESERVE_PIDS,
            "nano_cpus": int(min(os.cpu_count() or 1, limits.cpus + (_RESERVE_CPUS if own_group else 0)) * 1e9),
            "ulimits": [Ulimit(name="core", soft=0, hard=0)],
            "log_config": LogConfig(type="json-file", config={"max-size": "1m", "max-file": "1"}),
            "labels": {**spec.labels, _ID_LABEL: spec.id, _OWNER_LABEL: str(os.geteuid())},
            "runtime": os.environ.get(RUNTIME_VARIABLE) or None,
            "mounts": self._mounts(spec),
            "detach": True,
        }
        if disk_kind()[0] != "ext4":
            size = f"size={limits.disk_mb}m,nosuid,nodev,exec"
            options["tmpfs"] = {target: f"{size},mode={mode:o}" for target, mode in PLACES.values()}
            options["tmpfs"]["/workspace"] += f",uid={agent},gid={agent}"
        if own_group and cgroups.find_hierarchies().version == 2:
            # to enter a group that lies beside the container's own; what is shown of the tree is read-only
            options["cgroupns"] = "host"
        if gpus:
            options["device_requests"] = [DeviceRequest(device_ids=[gpu.id for gpu in gpus], capabilities=[["gpu"]])]
        return options

    def _mounts(self, spec: SandboxSpec) -> list[Any]:
        service = Path(package_folder()) / "sandbox"
        found = [
            _bind(self.folder.path, PRIVATE_DIR, writable=True),
            _bind(service / "execd", f"{_SERVICE}/sandbox/execd"),
            _bind(service / "jail", f"{_SERVICE}/sandbox/jail"),
            *(_bind(self.folder.path / _account_file(name), f"/etc/{name}") for name in accounts(0)),
            *(_bind(m.source.resolve(), m.target, writable=m.writable) for m in spec.mounts),
            *(_bind(r.socket.parent.resolve(), f"{PRIVATE_DIR}/relay{n}") for n, r in enumerate(spec.relays)),
        ]
        if disk_kind()[0] == "ext4":
            found += [_bind(self.disk.folder / name, target, writable=True) for name, (target, _) in PLACES.items()]
        for file in self.group.procs_files:
            found.append(_bind(Path(file), _inside_group(file), writable=True))
        if self.group.oom_counter:
            found.append(_bind(Path(self.group.oom_counter), _inside_group(self.group.oom_counter)))
        return found

    def connect(self, channel: Channel) -> socket.socket:
        """Open a connection to execd."""
        return self.folder.connect(channel)

    def cause_of_death(self) -> Death:
        """Return what the engine knows about why it does not answer.

        Without a control group of the commands alone the container's limit is theirs: one that ended for want of memory was ended
        by whoever works in it.
        """
        if not self.folder.path.exists():
            return Death(Cause.SANDBOX, "it was destroyed")
        try:
            container = self._container_found()
        except DojoError as exc:
            return Death(Cause.SANDBOX, exc.message)
        if container is None:
            return Death(Cause.SANDBOX, "its container is gone")
        state = container.attrs["State"]
        own = state["OOMKilled"] and not state["Running"] and not self.group.procs_files
        return Death(Cause.AGENT_ERROR if own else Cause.SANDBOX, self._last_words(container))

    def _last_words(self, container: Container) -> str:
        state = container.attrs["State"]
        if state["Running"]:
            said = "its container runs"
        elif state["Status"] == "created":
            said = f"its container did not start: {state['Error']}"
        else:
            why = "it ran out of memory" if state["OOMKilled"] else state["Error"] or f"exit code {state['ExitCode']}"
            said = f"its container ended: {why}"
        with contextlib.suppress(DojoError), engine.speaking("reading the container's log"):
            if words := container.logs(tail=_LOG_LINES).decode(errors="replace").strip():
                return f"{said}; execd's last words: {words[-2000:]}"
        return said

    def measured(self) -> tuple[float | None, float | None, int]:
        """Return what the control group counted."""
        if not self.group.procs_files:
            return None, None, 0
        try:
            return self.group.cpu_s(), self.group.memory_peak_mb(), self.group.oom_kills()
        except FileNotFoundError:
            return None, None, 0

    def destroy(self) -> None:
        """Remove everything of it."""
        self._remove_container()
        self.group.kill()
        self.disk.remove()
        self.folder.remove(self.group.kill)
        self.group.remove()

    def _remove_container(self) -> None:
        try:
            container = self._container_found()
        except MissingError:
            if self._asked.exists():
                raise  # its container may run
            return
        if container is None:
            return
        from docker.errors import APIError, NotFound

        with engine.speaking(f"removing the container {self.container_name}"):
            try:
                container.remove(force=True, v=True)
            except NotFound:
                return
            except APIError as exc:
                if exc.response is None or exc.response.status_code != 409:  # 409: somebody else removes it now
                    raise
        self._await_removal()

    def _await_removal(self) -> None:
        deadline = time.monotonic() + _START_S
        while self._container_found() is not None:
            if time.monotonic() > deadline:
                raise SandboxError(f"the container {self.container_name} does not go away", hint="docker rm -f it")
            time.sleep(0.02)

    def _container_found(self) -> Container | None:
        docker = engine.client()
        from docker.errors import NotFound

        with engine.speaking(f"looking for the container {self.container_name}"):
            try:
                return docker.containers.get(self.container_name)
            except NotFound:
                return None


def _variant(gpus: int) -> str:
    """Return the variant of images that sandboxes with so many GPUs are made of."""
    return "cuda" if gpus else "cpu"


def _account_file(name: str) -> str:
    """Return what a file of /etc is called in a sandbox's folder, which is seen inside and has a folder called group there."""
    return f"etc-{name}"


def _rootless() -> bool:
    return "rootless" in engine.security(engine.facts())


def _bind(source: Path, target: str, *, writable: bool = False) -> Any:
    from docker.types import Mount as DockerMount

    mount = DockerMount(target=target, source=str(source), type="bind", read_only=not writable, propagation="rprivate")
    mount["BindOptions"]["NonRecursive"] = True  # what is mounted below would not be read-only
    return mount


def _inside_group(file: str) -> str:
    """Return where a control group's file is shown inside; the controller's name keeps files of version 1 apart."""
    return f"{PRIVATE_DIR}/group/{file.strip('/').replace('/', '-')[-100:]}"


def _own_oom_counter() -> str:
    """Return where a container finds its own counter, for a harness that may not make groups."""
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return "/sys/fs/cgroup/memory.events"
    return "/sys/fs/cgroup/memory/memory.oom_control" if Path("/sys/fs/cgroup/memory").is_dir() else ""
