"""A listening socket with one worker process a connection. Workers are processes because each adopts the tree of its command."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Callable
from typing import NoReturn

from . import tree
from .command import Reaper
from .deadline import Watch
from .wire import Wire, WireClosed


def serve(
    listener: socket.socket,
    work: Callable[[Wire], None],
    spared: set[int],
    goes_on: Callable[[], bool],
    watch: Watch | None = None,
) -> None:
    """Accept connections for ever, each in a forked worker.

    A child that is neither a worker nor in ``spared`` was left behind by a worker that was killed: it is killed too.

    Args:
        listener: a listening unix socket.
        work: what a worker does with its connection.
        spared: pids of other children of this process; those that end are taken out.
        goes_on: asked after every ended child; false ends the service.
        watch: keeps the deadline, where this service is the one to do it.
    """
    reaper = Reaper()
    workers: set[int] = set()
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(reaper.descriptor, select.POLLIN)
    look_again: float | None = None
    if watch is not None:
        poll.register(watch.descriptor, select.POLLIN)
        look_again = watch.look()  # it may have rung while nobody served
    while True:
        events = dict(poll.poll(look_again))
        if watch is not None and (look_again is not None or watch.descriptor in events):
            look_again = watch.look()
        if reaper.descriptor in events:
            ended = reaper.collect()
            workers.difference_update(ended)
            spared.difference_update(ended)
            _kill_strays(workers | spared)
            if not goes_on():
                _kill_strays(spared)
                return
        if listener.fileno() in events:
            with contextlib.suppress(BlockingIOError):
                connection, _ = listener.accept()
                _hand_over(listener, connection, work, workers)


def _kill_strays(known: set[int]) -> None:
    for pid in tree.children(os.getpid()):
        if pid not in known:
            tree.send(pid, signal.SIGKILL)  # what it leaves comes to us and is found at its SIGCHLD


def _hand_over(listener: socket.socket, connection: socket.socket, work: Callable[[Wire], None], workers: set[int]) -> None:
    with connection:
        try:
            pid = os.fork()
        except OSError as exc:
            with contextlib.suppress(OSError, WireClosed):
                Wire(connection).send({"error": {"kind": "busy", "message": f"execd cannot fork: {exc.strerror}"}})
            return
        if pid:
            workers.add(pid)
            return
        _worker_main(listener, connection, work)


def log_exception() -> None:
    """Write the current exception to the log that the harness shows when the sandbox is gone."""
    import traceback  # heavy, and hardly ever needed

    with contextlib.suppress(OSError):
        os.write(2, traceback.format_exc().encode())


def _worker_main(listener: socket.socket, connection: socket.socket, work: Callable[[Wire], None]) -> NoReturn:
    try:
        listener.close()
        connection.setblocking(True)
        work(Wire(connection))
    except WireClosed:
        pass
    except BaseException:  # a worker must never return into the service's loop
        log_exception()
    finally:
        os._exit(0)
