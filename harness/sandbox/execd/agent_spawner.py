"""A process of the agent's own user that starts its commands, one after the other, for one worker.

A worker is root and must become the agent between fork and exec, which rules out the cheap way of starting a program (vfork, as
in posix_spawn) and makes each start twice as dear. A process that is the agent already can take the cheap way.

It is the agent's, so the agent can kill or stop it, as it can the command itself, and nothing worse: it cannot be traced, what
it starts belongs to the worker's tree, and a worker whose spawner is gone waits for the command itself.
"""

from __future__ import annotations

import contextlib
import errno
import marshal
import os
import select
import socket
import struct
import time
from typing import Any

from . import syscalls, tree
from .waiting_child import IDLE_NAME, NOT_EXECUTABLE, NOT_FOUND, Child, ChildLost, Order, SpawnFailed, become_agent

# far above what a loaded machine needs
_ANSWER_S = 20.0
_LOOK_EVERY_MS = 200
_LENGTH = struct.Struct("!I")
_STANDARD = 3


class Spawner:
    """The worker's end."""

    def __init__(self, agent: int) -> None:
        """Fork it, to become the user ``agent``.

        Raises:
            OSError: the sandbox's process limit is reached.
        """
        self.sock, far = socket.socketpair()
        try:
            self.pid = os.fork()
        except OSError:
            self.sock.close()
            far.close()
            raise
        if self.pid == 0:
            self.sock.close()
            try:
                _serve(far, agent)
            finally:
                os._exit(0)
        far.close()

    def start(self, order: Order) -> Child:
        """Start a command.

        Raises:
            SpawnFailed: it cannot be run.
            ChildLost: the spawner is gone or does not answer.
        """
        far_in, near_in = os.pipe()
        near_out, far_out = os.pipe()
        near_err, far_err = os.pipe()
        child = Child(near_in, near_out, near_err)
        message = marshal.dumps((list(order.argv), order.cwd, dict(order.env)))
        try:
            socket.send_fds(self.sock, [_LENGTH.pack(len(message))], [far_in, far_out, far_err])
            self.sock.sendall(message)
            answer = self._answer()
        except (OSError, EOFError, ValueError) as exc:
            child.close()
            raise ChildLost from exc
        finally:
            for descriptor in (far_in, far_out, far_err):
                os.close(descriptor)
        if isinstance(answer, int):
            child.pid, child.spawner = answer, self
            return child
        child.close()
        raise SpawnFailed(*answer)

    def _answer(self) -> int | tuple[int, str]:
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        deadline = time.monotonic() + _ANSWER_S
        while not poll.poll(_LOOK_EVERY_MS):
            if time.monotonic() > deadline or not tree.can_run(self.pid):
                raise EOFError
        answer: int | tuple[int, str] = _receive(self.sock)
        return answer

    def status(self) -> int | None:
        """Return the wait status that has arrived, None when the spawner is gone."""
        try:
            status: int = _receive(self.sock)
        except (OSError, EOFError, ValueError):
            return None
        return status

    def close(self) -> None:
        """End it."""
        self.sock.close()
        tree.send(self.pid, 9)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _send(sock: socket.socket, value: Any) -> None:
    data = marshal.dumps(value)
    sock.sendall(_LENGTH.pack(len(data)) + data)


def _receive(sock: socket.socket) -> Any:
    (size,) = _LENGTH.unpack(_exactly(sock, _LENGTH.size))
    return marshal.loads(_exactly(sock, size))


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _serve(control: socket.socket, agent: int) -> None:
    """Be the spawner until the worker is gone."""
    syscalls.set_name(IDLE_NAME)  # first, or for a moment it would count as a command of the agent's
    become_agent(agent)
    os.umask(0o022)
    os.setsid()
    while True:
        head, descriptors, _, _ = control.recvmsg(_LENGTH.size, socket.CMSG_SPACE(_STANDARD * 4), socket.MSG_CMSG_CLOEXEC)
        if not head:
            return
        _, _, data = descriptors[0]
        standard = struct.unpack(f"{_STANDARD}i", data)
        (size,) = _LENGTH.unpack(head)
        argv, cwd, env = marshal.loads(_exactly(control, size))
        try:
            pid = _start(argv, cwd, env, standard)
        except SpawnFailed as exc:
            _send(control, (exc.exit_code, str(exc)))
            continue
        finally:
            for descriptor in standard:
                os.close(descriptor)
        _send(control, pid)
        _send(control, os.waitpid(pid, 0)[1])


def _start(argv: list[str], cwd: str, env: dict[str, str], standard: tuple[int, ...]) -> int:
    try:
        os.chdir(cwd)
    except OSError as exc:
        raise SpawnFailed(NOT_EXECUTABLE, f"{cwd}: {exc.strerror}") from exc
    actions = [(os.POSIX_SPAWN_DUP2, descriptor, target) for target, descriptor in enumerate(standard)]
    found: OSError | None = None
    name = argv[0]
    for folder in [""] if "/" in name else [f"{f}/" for f in env.get("PATH", "/usr/bin:/bin").split(":")]:
        if folder and not os.path.exists(folder + name):
            continue  # a failed start costs far more than a look
        try:
            return os.posix_spawn(folder + name, argv, env, file_actions=actions, setsid=True)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as exc:
            found = found or exc
    if found is None:
        raise SpawnFailed(NOT_FOUND, f"{name}: {os.strerror(errno.ENOENT)}")
    raise SpawnFailed(NOT_EXECUTABLE, f"{name}: {found.strerror}")
