"""Starting commands from a child that is made ready before it is needed and only told what to run.

This is the way of everything that an `agent_spawner` cannot start: commands of root, commands in namespaces of their own, and
detached ones. Making a child (fork, session, namespaces) costs more than running ``true`` in it, so a worker does it between two
calls where it can. While it waits, the child is still root of the sandbox; it becomes the command's user in the last moment
before exec. Between fork and exec every module first touched costs copied pages, so that path calls as little as it can.
"""

from __future__ import annotations

import contextlib
import errno
import json
import marshal
import os
import signal
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from . import seccomp, syscalls
from .settings import PRIVATE_DIR, Settings

if TYPE_CHECKING:
    from .agent_spawner import Spawner

IDLE_NAME = "dojo-idle"
_HIGHEST_DESCRIPTOR = 1 << 20
# as shells have it
NOT_FOUND, NOT_EXECUTABLE = 127, 126
# what a child writes right before exec; an end of file without it means that the child was killed while it waited
_ABOUT_TO_RUN = b"R"


class SpawnFailed(Exception):
    """The command could not be started. ``exit_code`` is what a shell would return."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ChildLost(Exception):
    """The waiting child was killed before it got its order."""


class Order(NamedTuple):
    """What a waiting child is told to run."""

    argv: Sequence[str]
    cwd: str
    env: Mapping[str, str]
    user: str


class Child:
    """A command that runs: its pid and our ends of its pipes."""

    def __init__(self, stdin: int, stdout: int, stderr: int) -> None:
        self.pid = 0
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.spawner: Spawner | None = None

    def close_end(self, name: str) -> None:
        """Close one of ``stdin``, ``stdout``, ``stderr``; may be called twice."""
        descriptor: int = getattr(self, name)
        if descriptor >= 0:
            setattr(self, name, -1)
            os.close(descriptor)

    def close(self) -> None:
        """Close all our ends."""
        for name in ("stdin", "stdout", "stderr"):
            self.close_end(name)

    def exit_code(self, status: int) -> int:
        """Return the exit code for a wait status: 128 + n after signal n, as shells have it."""
        return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


class WaitingChild(Child):
    """A child of ours that waits for its order and then becomes the command."""

    def __init__(self, stdin: int, stdout: int, stderr: int, launch: int, control: socket.socket) -> None:
        super().__init__(stdin, stdout, stderr)
        self.launch = launch
        self.control = control

    def close(self) -> None:
        """Close all our ends. While it waits for its order, it then ends by itself."""
        super().close()
        self.close_end("launch")
        self.control.close()

    def run(self, order: Order) -> None:
        """Give the order and wait until the command is really running.

        Raises:
            SpawnFailed: it cannot be run; nothing of it is left running.
            ChildLost: the child was killed while it waited.
        """
        message = marshal.dumps((list(order.argv), order.cwd, dict(order.env), order.user))
        try:
            self.control.sendall(struct.pack("!I", len(message)) + message)
        except (BrokenPipeError, ConnectionResetError) as exc:
            raise ChildLost from exc
        answer = b""
        while part := os.read(self.launch, 65536):
            answer += part
        self.close_end("launch")
        if not answer:
            raise ChildLost
        if failure := answer.removeprefix(_ABOUT_TO_RUN):
            raise SpawnFailed(*json.loads(failure))

    def exit_code(self, status: int) -> int:
        """Return the exit code for a wait status."""
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            # a namespace's first process cannot die of the command's signal itself, so it reports the command's status
            if reported := self.control.recv(16, socket.MSG_DONTWAIT):
                status = int(reported)
        return super().exit_code(status)


def prepare(settings: Settings) -> WaitingChild:
    """Fork a child that waits for its order.

    Raises:
        OSError: the sandbox's process limit (EAGAIN) or memory limit is reached.
    """
    far_in, near_in = os.pipe()
    near_out, far_out = os.pipe()
    near_err, far_err = os.pipe()
    near_launch, far_launch = os.pipe()
    near, far = socket.socketpair()
    child = WaitingChild(near_in, near_out, near_err, near_launch, near)
    far_ends = (far_in, far_out, far_err, far_launch)
    try:
        child.pid = os.fork()
    except OSError:
        child.close()
        _close_all(far_ends, far)
        raise
    if child.pid == 0:
        child.close()
        _child_main(settings, far, far_ends)
    _close_all(far_ends, far)
    return child


def _close_all(descriptors: Sequence[int], sock: socket.socket) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
    sock.close()


def _child_main(settings: Settings, control: socket.socket, far_ends: tuple[int, int, int, int]) -> NoReturn:
    *standard, launch = far_ends
    try:
        os.setsid()
        for target, descriptor in enumerate(standard):
            os.dup2(descriptor, target)
        if settings.mode == "nested":
            _close_others({control.fileno(), launch})
            _enter_nested(settings, control, launch)
        _execute(settings, _receive_order(control), launch)
    except SpawnFailed as exc:
        _report(launch, exc.exit_code, str(exc))
    except BaseException as exc:  # a child must never return into its parent's code
        _report(launch, NOT_EXECUTABLE, f"execd: {type(exc).__name__}: {exc}")
    finally:
        os._exit(NOT_EXECUTABLE)


def _close_others(kept: set[int]) -> None:
    lowest = 3
    for descriptor in sorted(kept):
        os.closerange(lowest, descriptor)
        lowest = descriptor + 1
    os.closerange(lowest, _HIGHEST_DESCRIPTOR)


def _report(launch: int, exit_code: int, message: str) -> None:
    with contextlib.suppress(OSError):
        os.write(launch, json.dumps([exit_code, message]).encode())


def _receive_order(control: socket.socket) -> Order:
    (size,) = struct.unpack("!I", _read_exactly(control, 4))
    return Order(*marshal.loads(_read_exactly(control, size)))


def _read_exactly(control: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = control.recv(size - len(data))
        if not part:
            os._exit(0)  # nobody needs this child any more
        data += part
    return data


def _enter_nested(settings: Settings, control: socket.socket, launch: int) -> None:
    """Go on in namespaces of the command's own; returns only in the process that will be the command.

    Inside, the command's user cannot see or signal execd though the host knows them as one user, and the death of the namespace's
    first process is the death of all of it.
    """
    signal.set_wakeup_fd(-1)
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID)
    syscalls.map_single_user(settings.agent, settings.agent, uid, gid)
    first = os.fork()
    if first:
        os.close(launch)
        control.close()
        _wait_as(first)
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    syscalls.mount("proc", "/proc", "proc", flags)
    syscalls.mount("tmpfs", PRIVATE_DIR, "tmpfs", flags | syscalls.MS_RDONLY, "size=4k,mode=755")
    order_socket, report_socket = control, control.dup()
    command = os.fork()
    if command:
        os.close(launch)
        order_socket.close()
        _reap_until(command, report_socket)
    report_socket.close()


def _wait_as(child: int) -> NoReturn:
    """Wait for ``child`` and end as it did."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


def _reap_until(command: int, report: socket.socket) -> NoReturn:
    while True:
        pid, status = os.wait()
        if pid == command:
            with contextlib.suppress(OSError):
                report.sendall(str(status).encode())
            os._exit(0)


def _execute(settings: Settings, order: Order, launch: int) -> NoReturn:
    _become(settings, order.user)
    os.umask(0o022)
    try:
        os.chdir(order.cwd)
    except OSError as exc:
        raise SpawnFailed(NOT_EXECUTABLE, f"{order.cwd}: {exc.strerror}") from exc
    os.write(launch, _ABOUT_TO_RUN)
    name = order.argv[0]
    folders = [""] if "/" in name else [f"{f}/" for f in order.env.get("PATH", "/usr/bin:/bin").split(":")]
    found: OSError | None = None
    for folder in folders:
        try:
            os.execve(folder + name, list(order.argv), dict(order.env))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as exc:
            found = found or exc
    if found is None:
        raise SpawnFailed(NOT_FOUND, f"{name}: {os.strerror(errno.ENOENT)}")
    raise SpawnFailed(NOT_EXECUTABLE, f"{name}: {found.strerror}")


def become_agent(agent: int) -> None:
    """Become the agent's user for good; capabilities go with it."""
    os.setgroups([])
    os.setresgid(agent, agent, agent)
    os.setresuid(agent, agent, agent)


def _become(settings: Settings, user: str) -> None:
    """Take the user's identity and give up all that goes beyond it."""
    if settings.mode == "privileged" and user == "agent":
        become_agent(settings.agent)
    elif settings.mode == "nested":
        syscalls.set_name("dojo-exec")
        if user == "root":
            syscalls.unshare(syscalls.CLONE_NEWUSER)
            syscalls.map_single_user(0, 0, settings.agent, settings.agent)
        syscalls.keep_capabilities(syscalls.KEPT_CAPS if user == "root" else ())
        seccomp.install()
