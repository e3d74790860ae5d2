"""The file system of a sandbox, built under a folder before it becomes the root."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import NamedTuple

from ..execd import syscalls
from ..execd.settings import PRIVATE_DIR
from . import disk, shown

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
_ETC_FROM_HOST = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")
_ETC = {
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "resolv.conf": "",
    "hostname": "sandbox\n",
}
# /proc tells and allows more than a sandbox should; the same places that container runtimes close
_PROC_EMPTY_FILES = (
    "kcore",
    "keys",
    "key-users",
    "timer_list",
    "sched_debug",
    "latency_stats",
    "kallsyms",
    "modules",
    "config.gz",
)
_PROC_EMPTY_FOLDERS = ("acpi", "scsi", "driver")
_PROC_READ_ONLY = ("sys", "irq", "bus", "fs", "sysrq-trigger")
# What a user namespace may take of what its owner has outside: the kernel counts it there too (128 instances are usual).
_COUNTED = {"max_inotify_instances": 24, "max_inotify_watches": 32_768}
_CPU_TOPOLOGY = ("/sys/devices/system/cpu", "/sys/devices/system/node")
_MOUNT_FLAGS = {
    "ro": syscalls.MS_RDONLY, "nosuid": syscalls.MS_NOSUID, "nodev": syscalls.MS_NODEV, "noexec": syscalls.MS_NOEXEC,
    "noatime": syscalls.MS_NOATIME, "nodiratime": syscalls.MS_NODIRATIME, "relatime": syscalls.MS_RELATIME,
}  # fmt: skip


def accounts(agent: int) -> dict[str, str]:
    """Return the files of /etc that say who is who inside, by name."""
    return {
        "passwd": f"root:x:0:0:root:/workspace:/bin/sh\nagent:x:{agent}:{agent}:agent:/workspace:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        "group": f"root:x:0:\nagent:x:{agent}:\nnogroup:x:65534:\n",
    }


class DiskPlan(NamedTuple):
    """Which disk: ``kind`` "ext4" with the path of its image and mkfs, or "tmpfs"."""

    kind: str
    size_mb: int
    image: str = ""
    mkfs: str = ""


class BindPlan(NamedTuple):
    """A host path shown inside."""

    source: str
    target: str
    writable: bool = False
    devices: bool = False


class RootPlan(NamedTuple):
    """What the root is made of, decided by the backend."""

    disk: DiskPlan
    exposed: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    binds: tuple[BindPlan, ...] = ()
    gpus: tuple[tuple[str, str], ...] = ()  # device nodes: on the host, inside
    driver: tuple[tuple[str, str], ...] = ()  # below /proc/driver: path, text


class Root:
    """Builds the file system under ``path``, which becomes a mount of its own."""

    def __init__(self, path: str, *, privileged: bool, agent: int, own_users: bool) -> None:
        self.path = path
        self._privileged = privileged
        self._agent, self._own_users = agent, own_users
        self._shown: list[str] = []
        self._driver: tuple[tuple[str, str], ...] = ()

    def build(self, plan: RootPlan) -> None:
        """Make everything but /proc, which needs the process namespace.

        Raises:
            OSError: names the path inside or on the host that could not be mounted.
        """
        syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        os.makedirs(self.path, exist_ok=True)
        syscalls.mount("tmpfs", self.path, "tmpfs", syscalls.MS_NOSUID, "size=16m,mode=755")
        for path in shown.system():
            self._system(path)
        self._etc()
        self._driver = plan.driver
        self._devices(plan.gpus)
        self._writable(plan.disk)
        if plan.gpus:
            read_only = syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
            syscalls.mount("sysfs", self.folder("/sys"), "sysfs", read_only)  # new, so it shows this network namespace
        for path in (*(() if plan.gpus else _CPU_TOPOLOGY), *plan.exposed):
            if os.path.exists(path):
                self.expose(path)
        for path in plan.hidden:
            self._hide(path)
        for bind in sorted(plan.binds, key=lambda b: b.target.count("/")):
            self.bind(bind)
        for name in ("proc", ".old"):
            self.folder(f"/{name}")

    def inside(self, path: str) -> str:
        """Return where ``path`` of the sandbox lies now."""
        return self.path + path

    def folder(self, path: str, mode: int = 0o755) -> str:
        """Make a folder with its parents and return where it lies now."""
        target = self.inside(path)
        os.makedirs(target, mode=0o755, exist_ok=True)
        if mode != 0o755:
            os.chmod(target, mode)
        return target

    def expose(self, path: str) -> None:
        """Show a host path read-only at the same place; links on the way to it are made again."""
        way = ""
        for part in path.strip("/").split("/"):
            way = f"{way}/{part}"
            if os.path.lexists(self.inside(way)):
                if os.path.islink(self.inside(way)):
                    break
                continue
            if os.path.islink(way):
                os.makedirs(os.path.dirname(self.inside(way)), exist_ok=True)
                os.symlink(os.readlink(way), self.inside(way))
                break
        else:
            if not self._shown_already(path):
                self._show(path)
            return
        rest = path[len(way) :]
        target = os.path.normpath(os.path.join(os.path.dirname(way), os.readlink(self.inside(way))))
        self.expose(target + rest)

    def bind(self, plan: BindPlan) -> None:
        """Show a host path; read-only unless the plan says so, never with set-uid programs."""
        target = self.inside(plan.target)
        if stat.S_ISDIR(os.stat(plan.source).st_mode):
            os.makedirs(target, exist_ok=True)
        elif not os.path.lexists(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT, 0o644))
        syscalls.mount(plan.source, target, flags=syscalls.MS_BIND | syscalls.MS_REC)
        added = syscalls.MS_NOSUID | (0 if plan.writable else syscalls.MS_RDONLY) | (0 if plan.devices else syscalls.MS_NODEV)
        for point, flags in _mounts_below(target):
            syscalls.mount("", point, flags=syscalls.MS_REMOUNT | syscalls.MS_BIND | flags | added)

    def mount_proc(self) -> None:
        """Mount /proc of the new process namespace. Must be called from inside it."""
        target = self.inside("/proc")
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        # the group is execd's: unsaid it is the host's group 0, which execd in a user namespace does not have
        syscalls.mount("proc", target, "proc", flags, "hidepid=2,gid=0" if self._privileged else "")
        if self._own_users:
            for name, most in _COUNTED.items():
                with open(f"{target}/sys/user/{name}", "w", encoding="ascii") as file:
                    file.write(str(most))
        if not self._privileged:
            return  # an ordinary user owns none of these, and its commands mount a whole /proc of their own
        for name in _PROC_EMPTY_FILES:
            if os.path.exists(f"{target}/{name}"):
                syscalls.mount(self.inside("/dev/null"), f"{target}/{name}", flags=syscalls.MS_BIND)
        for name in _PROC_EMPTY_FOLDERS:
            if os.path.isdir(f"{target}/{name}"):
                syscalls.mount("tmpfs", f"{target}/{name}", "tmpfs", flags | syscalls.MS_RDONLY, "size=4k")
        if self._driver:
            self._tell_of_driver(f"{target}/driver", flags)
        for name in _PROC_READ_ONLY:
            if os.path.exists(f"{target}/{name}"):
                syscalls.mount(f"{target}/{name}", f"{target}/{name}", flags=syscalls.MS_BIND | syscalls.MS_REC)
                read_only = syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | flags
                syscalls.mount("", f"{target}/{name}", flags=read_only)

    def enter(self) -> None:
        """Make it the root and let go of the host's."""
        os.chdir(self.path)
        syscalls.pivot_root(".", ".old")
        os.chdir("/")
        syscalls.unmount("/.old", syscalls.MNT_DETACH)
        os.rmdir("/.old")
        flags = syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | syscalls.MS_NOSUID
        syscalls.mount("", "/", flags=flags)

    def _system(self, path: str) -> None:
        if os.path.islink(path):  # merged /usr, CUDA's newest version
            os.symlink(os.readlink(path), os.path.join(self.folder(os.path.dirname(path)), os.path.basename(path)))
        elif os.path.isdir(path):
            self._show(path)

    def _show(self, path: str) -> None:
        self.bind(BindPlan(path, path))
        self._shown.append(path)

    def _etc(self) -> None:
        folder = self.folder("/etc")
        for name, text in {**_ETC, **accounts(self._agent)}.items():
            with open(f"{folder}/{name}", "w", encoding="ascii") as file:
                file.write(text)
        for path in _ETC_FROM_HOST:
            if os.path.exists(path):
                self.bind(BindPlan(os.path.realpath(path), path))

    def _devices(self, gpus: tuple[tuple[str, str], ...]) -> None:
        folder = self.folder("/dev")
        for source, target in (*((f"/dev/{name}", f"/dev/{name}") for name in _DEVICES), *gpus):
            self.bind(BindPlan(source, target, writable=True, devices=True))
        os.makedirs(f"{folder}/pts")
        syscalls.mount(
            "devpts", f"{folder}/pts", "devpts", syscalls.MS_NOSUID | syscalls.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"
        )
        os.symlink("pts/ptmx", f"{folder}/ptmx")
        for name, target in _DEVICE_LINKS.items():
            os.symlink(target, f"{folder}/{name}")

    def _tell_of_driver(self, folder: str, flags: int) -> None:
        """Let the driver's libraries read of the GPUs given, and of no other, what they look for in /proc/driver."""
        syscalls.mount("tmpfs", folder, "tmpfs", flags, "size=1m,mode=755")
        for name, text in self._driver:
            os.makedirs(os.path.dirname(f"{folder}/{name}"), exist_ok=True)
            with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
                file.write(text)
        syscalls.mount("", folder, flags=syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | flags)

    def _writable(self, plan: DiskPlan) -> None:
        """Show folders of one disk at each writable place, so that one limit holds for all of them."""
        store = self.folder("/.store")
        private = self.folder(PRIVATE_DIR, 0o700)
        os.makedirs(f"{private}/spool", mode=0o700)
        places = {"workspace": ("/workspace", 0o755), "tmp": ("/tmp", 0o1777), "shm": ("/dev/shm", 0o1777)}
        if plan.kind == "ext4":
            disk.mount_image(plan.image, store, plan.size_mb, plan.mkfs)
            places["spool"] = (f"{PRIVATE_DIR}/spool", 0o700)
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(f"{store}/lost+found")
        else:
            disk.mount_tmpfs(store, plan.size_mb)
            disk.mount_tmpfs(f"{private}/spool", disk.RESERVE_MB)
        for name, (path, mode) in places.items():
            os.mkdir(f"{store}/{name}")
            os.chmod(f"{store}/{name}", mode)
            if name == "workspace" and self._privileged:
                os.chown(f"{store}/{name}", self._agent, self._agent)
            syscalls.mount(f"{store}/{name}", self.folder(path), flags=syscalls.MS_BIND)
        syscalls.unmount(store, syscalls.MNT_DETACH)
        os.rmdir(store)

    def _hide(self, path: str) -> None:
        if os.path.isdir(self.inside(path)):
            flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_RDONLY
            syscalls.mount("tmpfs", self.inside(path), "tmpfs", flags, "size=4k,mode=755")

    def _shown_already(self, path: str) -> bool:
        return any(path == there or path.startswith(f"{there}/") for there in self._shown)


def _mounts_below(path: str) -> list[tuple[str, int]]:
    """Return (mount point, its flags) of the mount at ``path`` and those below it."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split(" ")
            point = fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape") if "\\" in fields[4] else fields[4]
            if point == path or point.startswith(f"{path}/"):
                flags = sum(_MOUNT_FLAGS.get(option, 0) for option in fields[5].split(","))
                found.append((point, flags))
    return found
