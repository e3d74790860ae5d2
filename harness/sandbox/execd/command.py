"""Running one command to its end or its deadline: feeding it, keeping its output, killing its tree."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import NamedTuple

from . import tree
from .output import Sink
from .settings import Settings
from .waiting_child import Child
from .wire import Wire, WireClosed

_CHUNK = 64 * 1024
# After the command's tree is dead its pipes end at once, unless something outside the tree was handed one: do not wait for that.
_DRAIN_S = 1.0
# how often a silent command's spawner is looked at
_LOOK_EVERY_MS = 2000.0


class Ending(NamedTuple):
    """How a command ended. ``survivors`` are processes of its tree that SIGKILL did not end in time."""

    exit_code: int
    timed_out: bool
    survivors: int
    oom_killed: bool


class ClientGone(Exception):
    """The client hung up while its command ran; the command's tree is dead."""


def oom_kills(settings: Settings) -> int:
    """Return how many processes the kernel has killed in this sandbox for want of memory."""
    if settings.oom_counter < 0:
        return 0
    for line in os.pread(settings.oom_counter, 4096, 0).decode().splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return 0


class Reaper:
    """Collects ended children of this process; its descriptor becomes readable at every signal that has a handler."""

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)
        signal.set_wakeup_fd(self._far.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    @property
    def descriptor(self) -> int:
        """What to poll."""
        return self._near.fileno()

    def collect(self) -> dict[int, int]:
        """Return pid → wait status of what has ended since the last call."""
        with contextlib.suppress(BlockingIOError):
            while self._near.recv(4096):
                pass
        ended: dict[int, int] = {}
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                ended[pid] = status
        return ended


class Supervision:
    """Watches one command: moves its bytes, keeps its deadline, and leaves nothing of its tree alive."""

    def __init__(
        self, settings: Settings, reaper: Reaper, child: Child, sinks: tuple[Sink, Sink], deadline: float | None = None
    ) -> None:
        self._settings = settings
        self._reaper = reaper
        self._child = child
        self._sinks = {child.stdout: ("stdout", sinks[0]), child.stderr: ("stderr", sinks[1])}
        self._deadline = deadline
        self._spawner = child.spawner
        self._kills_before = oom_kills(settings)
        self._poll = select.poll()

    def run(self, feed: Feed | None = None, stop: Callable[[], bool] = lambda: False) -> Ending:
        """Wait for the end.

        Args:
            feed: where stdin comes from; None for an immediate end of file.
            stop: asked after each event; true means kill now.

        Raises:
            ClientGone: the client behind ``feed`` hung up.
        """
        for descriptor in self._sinks:
            os.set_blocking(descriptor, False)
            self._poll.register(descriptor, select.POLLIN)
        self._poll.register(self._reaper.descriptor, select.POLLIN)
        if feed is not None:
            feed.attach(self._poll, self._child)
        else:
            self._child.close_end("stdin")
        if self._spawner is not None:
            self._poll.register(self._spawner.sock, select.POLLIN)
        try:
            status, timed_out = self._watch(feed, stop)
            return self._finish(status, timed_out)
        finally:
            self._kill_tree()
            self._child.close()

    def _kill_tree(self) -> int:
        """Kill what the command has left; its spawner only where that must still report."""
        return tree.kill_own_tree(0 if self._spawner is None else self._spawner.pid)

    def _watch(self, feed: Feed | None, stop: Callable[[], bool]) -> tuple[int | None, bool]:
        """Return the command's wait status, None when it must be killed, and whether its time ran out."""
        status = self._reaper.collect().get(self._child.pid)
        while status is None:
            if stop():
                return None, False
            events = dict(self._poll.poll(self._timeout_ms()))
            if feed is not None and feed.serve(events, self._poll):
                raise ClientGone
            for descriptor in [d for d in events if d in self._sinks]:
                self._take(descriptor, self._poll)
            if self._spawner is not None and self._spawner.sock.fileno() in events:
                status = self._spawner.status()
                if status is None:
                    status = self._after_spawner()
            if self._spawner is not None and not events and not tree.running(self._child.pid):
                tree.send(self._spawner.pid, signal.SIGKILL)  # stopped, or it would have reported: then we collect the command
            if self._reaper.descriptor in events and status is None:
                status = self._reaper.collect().get(self._child.pid)
            if status is None and self._deadline is not None and time.monotonic() >= self._deadline:
                return None, True
        return status, False

    def _timeout_ms(self) -> float | None:
        left = None if self._deadline is None else max(0.0, (self._deadline - time.monotonic()) * 1000 + 1)
        if self._spawner is None:
            return left
        return _LOOK_EVERY_MS if left is None else min(left, _LOOK_EVERY_MS)

    def _let_go_of_spawner(self) -> None:
        assert self._spawner is not None
        self._poll.unregister(self._spawner.sock)
        self._spawner = None

    def _after_spawner(self) -> int | None:
        """The spawner was killed: the command is our own child now, unless it was collected and not reported any more."""
        self._let_go_of_spawner()
        status = self._reaper.collect().get(self._child.pid)
        return signal.SIGKILL if status is None and not tree.stat_fields(self._child.pid) else status

    def _kill_command(self) -> int:
        """Kill the command and return its wait status; one that its spawner cannot tell is that of the signal."""
        if self._spawner is not None:
            self._let_go_of_spawner()  # it could have been stopped, so it dies with the tree
            return signal.SIGKILL
        tree.send(self._child.pid, signal.SIGKILL)
        try:
            return os.waitpid(self._child.pid, 0)[1]
        except ChildProcessError:
            return signal.SIGKILL

    def _take(self, descriptor: int, poll: select.poll) -> None:
        """Move one piece of output."""
        name, sink = self._sinks[descriptor]
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return
        if data:
            sink.add(data)
            return
        poll.unregister(descriptor)
        del self._sinks[descriptor]
        self._child.close_end(name)

    def _finish(self, status: int | None, timed_out: bool) -> Ending:
        if status is None:
            status = self._kill_command()
        exit_code = self._child.exit_code(status)
        survivors = self._kill_tree()
        poll = select.poll()
        for descriptor in self._sinks:
            poll.register(descriptor, select.POLLIN)
        drained = time.monotonic() + _DRAIN_S
        while self._sinks and (left := drained - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(left * 1000):
                self._take(descriptor, poll)
        out_of_memory = exit_code != 0 and oom_kills(self._settings) > self._kills_before
        return Ending(exit_code, timed_out, survivors, out_of_memory)


class Feed:
    """Moves stdin from the client's frame into the command and notices when the client hangs up."""

    def __init__(self, wire: Wire, size: int) -> None:
        self._wire = wire
        self._left = size
        self._buffer = b""
        self._child: Child | None = None

    def attach(self, poll: select.poll, child: Child) -> None:
        """Watch the client and the command's stdin."""
        self._child = child
        poll.register(self._wire.sock, select.POLLRDHUP)
        if self._left:
            os.set_blocking(child.stdin, False)
            poll.register(child.stdin, select.POLLOUT)
        else:
            child.close_end("stdin")

    def serve(self, events: dict[int, int], poll: select.poll) -> bool:
        """Act on ``events``; true when the client is gone."""
        child = self._child
        assert child is not None
        if events.get(self._wire.sock.fileno(), 0) & (select.POLLRDHUP | select.POLLHUP | select.POLLERR):
            return True
        if child.stdin >= 0 and child.stdin in events:
            try:
                if not self._buffer:
                    self._buffer = self._wire.read_some(min(self._left, _CHUNK))
                    self._left -= len(self._buffer)
                self._buffer = self._buffer[os.write(child.stdin, self._buffer) :]
            except BlockingIOError:
                return False
            except BrokenPipeError:
                self._buffer = b""
                self._end_stdin(poll)
                return False
            except WireClosed:
                return True
            if not self._left and not self._buffer:
                self._end_stdin(poll)
        return False

    def _end_stdin(self, poll: select.poll) -> None:
        assert self._child is not None
        poll.unregister(self._child.stdin)
        self._child.close_end("stdin")

    def finish(self) -> None:
        """Read what the command did not want, so that the connection can go on."""
        self._wire.skip(self._left)
        self._left = 0
