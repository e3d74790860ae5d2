"""The program that makes a sandbox: reads a plan from stdin, says on stdout how it went, and leaves execd running.

It belongs to nobody: the sandbox lives on when the harness dies. In the sandbox's folder on the host it leaves ``launcher`` and
``init`` (pid and start time), and as long as anything of it lives, it shares a lock on ``lock``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from ..execd import main as execd
from ..execd import syscalls, tree
from ..execd.settings import RelaySettings, Settings
from .rootfs import BindPlan, DiskPlan, Root, RootPlan

_NAMESPACES = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
_BACKLOG = 256
# control, commands
SOCKETS = ("c", "x")


class StepFailed(Exception):
    """A step of making the sandbox failed; ``step`` is its name."""

    def __init__(self, step: str, exc: Exception) -> None:
        super().__init__(f"{step}: {exc}")
        self.step = step
        self.errno = getattr(exc, "errno", None)


@contextlib.contextmanager
def _step(name: str) -> Any:
    try:
        yield
    except StepFailed:
        raise
    except Exception as exc:
        raise StepFailed(name, exc) from exc


def main() -> None:
    """Run one launch."""
    plan = json.load(sys.stdin)
    try:
        _launch(plan)
        answer: dict[str, Any] = {"ok": True}
    except StepFailed as exc:
        answer = {"ok": False, "step": exc.step, "errno": exc.errno, "message": str(exc)}
    print(json.dumps(answer), flush=True)


def _launch(plan: dict[str, Any]) -> None:
    with _step("state"):
        os.chdir(plan["folder"])
        # a file, not the folder: a process that opens paths for the agent must hold no folder of the host
        fcntl.flock(os.open("lock", os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_SH)
        record_process("launcher", os.getpid())
        sockets = [listen(name) for name in SOCKETS]
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        settings = settings_from(plan)
    root = None if plan["mode"] == "open" else _isolate(plan)
    with _step("first process"):
        _fork_first_process(lambda ready: _first_process(root, settings, sockets, log, ready))


def _isolate(plan: dict[str, Any]) -> Root:
    """Leave the host but for its processes; return the new root, not yet entered."""
    with _step("namespaces"):
        enter_namespaces(plan["mode"], plan["maps"])
    with _step("network"):
        syscalls.raise_loopback()
        socket.sethostname("sandbox")
    own_users = plan["mode"] == "nested" or bool(plan["maps"])
    root = Root(f"{plan['folder']}/root", privileged=plan["mode"] == "privileged", agent=plan["agent"], own_users=own_users)
    with _step("files"):
        root.build(_root_plan(plan))
    with _step("namespaces"):
        syscalls.unshare(syscalls.CLONE_NEWPID)
    return root


def enter_namespaces(mode: str, maps: list[list[Any]]) -> None:
    """Leave the host's namespaces, but for the one of processes: that waits for the child that will be its first.

    Args:
        mode: of `Settings`.
        maps: for a user namespace with more than one user, the programs that may map them, each with its rows.
    """
    uid, gid = os.geteuid(), os.getegid()
    if maps:
        _enter_mapped(maps)
    elif mode == "nested":
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        syscalls.map_single_user(0, 0, uid, gid)
    syscalls.unshare(_NAMESPACES)


def _enter_mapped(maps: list[list[Any]]) -> None:
    """Enter a user namespace whose users set-uid programs map; these mean nothing to who is inside, so a child stays outside."""
    go_read, go_write = os.pipe()
    me, helper = os.getpid(), os.fork()
    if helper == 0:
        code = 1
        try:
            os.close(go_write)
            if os.read(go_read, 1):
                calls = ([program, str(me), *(str(part) for row in rows for part in row)] for program, rows in maps)
                code = max(os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn(c[0], c, {}), 0)[1]) for c in calls)
        finally:
            os._exit(code)
    os.close(go_read)
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        os.write(go_write, b"g")
    finally:
        os.close(go_write)
        failed = os.waitstatus_to_exitcode(os.waitpid(helper, 0)[1])
    if failed:
        raise OSError(errno.EPERM, "it does not map the users that /etc/subuid and /etc/subgid give", maps[0][0])


def record_process(name: str, pid: int) -> None:
    """Leave pid and start time in the current folder, so that nobody mistakes a later process for it."""
    with open(f"{name}.new", "w", encoding="ascii") as file:
        json.dump({"pid": pid, "started": tree.stat_fields(pid)[19]}, file)
    os.rename(f"{name}.new", name)


def listen(name: str) -> socket.socket:
    """Listen on a socket in the current folder that only its owner may use."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(name)  # in the current folder: the whole path could be too long for a socket
    os.chmod(name, 0o600)
    sock.listen(_BACKLOG)
    return sock


def settings_from(plan: dict[str, Any]) -> Settings:
    """Return what a plan tells execd; opens what it names."""
    relays = []
    for port, path in plan["relays"]:
        folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
        relays.append(RelaySettings(port, folder, os.path.basename(path)))
    return Settings(
        mode=plan["mode"],
        env=plan["env"],
        rlimits=plan["rlimits"],
        cgroup_procs=tuple(os.open(path, os.O_WRONLY) for path in plan["cgroup_procs"]),
        oom_counter=os.open(plan["oom_counter"], os.O_RDONLY) if plan["oom_counter"] else -1,
        cpu_counter=os.open(plan["cpu_counter"], os.O_RDONLY) if plan.get("cpu_counter") else -1,
        relays=tuple(relays),
        **{name: plan[name] for name in ("agent", "workspace", "spool", "paths") if name in plan},
    )


def _root_plan(plan: dict[str, Any]) -> RootPlan:
    return RootPlan(
        disk=DiskPlan(**plan["disk"]),
        exposed=tuple(plan["exposed"]),
        hidden=tuple(plan["hidden"]),
        binds=tuple(BindPlan(**bind) for bind in plan["binds"]),
        gpus=tuple((source, target) for source, target in plan["gpus"]),
        driver=tuple(plan["driver"].items()),
    )


def _fork_first_process(body: Callable[[Callable[[], None]], None]) -> None:
    """Fork, note the child's pid on the host, and wait until it is ready.

    Raises:
        StepFailed: it did not get ready, with its reason.
    """
    go_read, go_write = os.pipe()
    news_read, news_write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(go_read)
        os.close(news_write)
        record_process("init", pid)
        os.write(go_write, b"g")
        with os.fdopen(news_read, "rb") as news:
            said = json.loads(news.readline() or b'{"step": "first process", "message": "it died", "errno": null}')
        if not said.get("ready"):
            os.waitpid(pid, 0)
            failure = StepFailed(said["step"], Exception(said["message"]))
            failure.errno = said["errno"]
            raise failure
        return
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.close(go_write)
        os.close(news_read)
        if os.read(go_read, 1) != b"g":
            os._exit(1)

        def ready() -> None:
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 0)
            os.write(news_write, b'{"ready": true}\n')
            os.close(news_write)

        body(ready)
    except BaseException as exc:
        step = exc.step if isinstance(exc, StepFailed) else "execd"
        failure_line = json.dumps({"step": step, "message": str(exc), "errno": getattr(exc, "errno", None)}) + "\n"
        with contextlib.suppress(OSError):
            os.write(news_write, failure_line.encode())
    finally:
        os._exit(1)


def _first_process(
    root: Root | None, settings: Settings, sockets: list[socket.socket], log: int, ready: Callable[[], None]
) -> None:
    os.setsid()
    if root is not None:
        with _step("/proc"):
            root.mount_proc()
        with _step("root"):
            root.enter()
    else:
        os.chdir("/")
    null = os.open("/dev/null", os.O_RDWR)
    for target, descriptor in enumerate((null, log, log)):
        os.dup2(descriptor, target)
    os.close(null)
    os.close(log)
    with _step("execd"):
        execd.run(settings, sockets[0], sockets[1], ready)


def probe() -> None:
    """Try on this host what a sandbox needs, leaving nothing behind; say on stdout how it went."""
    mode, maps = sys.argv[2], json.loads(sys.argv[3])
    try:
        with _step("namespaces"):
            enter_namespaces(mode, maps)
        with _step("network"):
            syscalls.raise_loopback()
        with _step("files"):
            syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
            syscalls.mount("tmpfs", "/tmp", "tmpfs", syscalls.MS_NOSUID, "size=1m")
        with _step("namespaces"):
            syscalls.unshare(syscalls.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            try:
                syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
                os._exit(0)
            except OSError as exc:
                os._exit(exc.errno or 1)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code:
            raise StepFailed("/proc", OSError(code, os.strerror(code)))
        answer: dict[str, Any] = {"ok": True}
    except StepFailed as exc:
        answer = {"ok": False, "step": exc.step, "errno": exc.errno, "message": str(exc)}
    print(json.dumps(answer), flush=True)
