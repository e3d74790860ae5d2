"""execd's processes: the control service (the caller itself), the command service, and the relays."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
from collections.abc import Callable
from typing import NoReturn

from . import relay, seccomp, syscalls
from .agent_processes import AgentProcesses
from .deadline import Deadline, Watch
from .operations import CommandWorker, ControlWorker
from .service import log_exception, serve
from .settings import RelaySettings, Settings
from .wire import Wire

# What commands have where the sandbox says nothing, whatever the shell had that the harness was started from.
_USUAL = dict.fromkeys(("FSIZE", "CPU", "AS", "DATA"), resource.RLIM_INFINITY)


def run(settings: Settings, control: socket.socket, commands: socket.socket, ready: Callable[[], None]) -> None:
    """Start everything, call ``ready``, and serve for ever; a command service that was killed is started anew.

    Args:
        settings: what this sandbox is.
        control: listening socket for everything that must work when the limits are reached.
        commands: listening socket for running commands.
        ready: called once, when both sockets are answered.
    """
    os.umask(0o022)
    os.makedirs(settings.spool, mode=0o700, exist_ok=True)
    syscalls.become_subreaper()
    listeners = relay.listen(settings.relays)
    relays = {_fork(lambda: _relays(settings, listeners, [control, commands]))} if listeners else set()
    for listener, _ in listeners:
        listener.close()
    for folder in settings.relays:
        os.close(folder.directory)
    deadline = Deadline.make()
    command_service = _fork(lambda: _commands(settings, commands, control, deadline))
    _harden(settings)
    ready()
    control.setblocking(False)
    while True:
        _serve_control(settings, control, commands, command_service, relays, deadline)
        # Only want of memory kills it. Its workers and their commands have come to us and are strays by now, and so are our own
        # workers, which know the old one; clients connect again.
        command_service = _fork(lambda: _commands(settings, commands, control, deadline))


def _serve_control(
    settings: Settings,
    control: socket.socket,
    commands: socket.socket,
    command_service: int,
    relays: set[int],
    deadline: Deadline,
) -> None:
    """Serve, and keep the deadline, until the command service is gone."""
    children = {command_service, *relays}

    def work(wire: Wire) -> None:
        commands.close()
        for descriptor in settings.cgroup_procs:
            os.close(descriptor)
        ControlWorker(settings, command_service, deadline).work(wire)

    watch = Watch(deadline, AgentProcesses(settings, command_service).kill)
    serve(control, work, children, lambda: command_service in children, watch)


def _fork(body: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        body()
    except BaseException:  # a child must never return into its parent's code
        log_exception()
    finally:
        os._exit(1)


def _relays(settings: Settings, listeners: list[tuple[socket.socket, RelaySettings]], others: list[socket.socket]) -> None:
    for other in others:
        other.close()
    _harden(settings)
    relay.RelayLoop(listeners).run()


def _commands(settings: Settings, commands: socket.socket, control: socket.socket, deadline: Deadline) -> NoReturn:
    """Serve commands from inside the limits: what is forked here counts against them."""
    control.close()
    deadline = deadline.for_reading()
    for descriptor in settings.cgroup_procs:
        os.write(descriptor, b"0")
        os.close(descriptor)
    with contextlib.suppress(OSError):  # the cgroup's path is no secret, only noise, where this cannot be had
        syscalls.unshare(syscalls.CLONE_NEWCGROUP)
    for name, value in {**_USUAL, **settings.rlimits}.items():
        _limit(name, value)
    syscalls.become_subreaper()
    _harden(settings)
    commands.setblocking(False)

    def work(wire: Wire) -> None:
        CommandWorker(settings, deadline).work(wire)

    serve(commands, work, set(), lambda: True)
    raise AssertionError("not reached")


def _limit(name: str, value: int) -> None:
    """Set a limit, as far as the caller's own hard limit lets us."""
    kind = getattr(resource, f"RLIMIT_{name}")
    try:
        resource.setrlimit(kind, (value, value))
    except (ValueError, OSError):
        hard = resource.getrlimit(kind)[1]
        value = hard if value == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _harden(settings: Settings) -> None:
    """Give up what execd does not need, before anything of the agent runs."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:  # as a background job of a shell inherits it
            signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, lambda number, frame: None)  # a handler, unlike "ignored", does not pass to commands
    if settings.mode == "privileged":
        syscalls.keep_capabilities(syscalls.KEPT_CAPS)
        seccomp.install()
