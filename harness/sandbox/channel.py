"""Connections of the host's end of execd: kept for the next call, replaced when they are stale, and never believed."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import threading
from collections.abc import Iterator

from harness.sandbox.execd.wire import Head, Unread, Wire, WireClosed
from harness.sandbox.host import Channel as ChannelName
from harness.sandbox.host import SandboxHost
from harness.spec.errors import SandboxError, SandboxUnavailable

# Silence on a call that should be answered at once: the sandbox is taken for dead. Far above what a loaded machine needs.
SILENCE_S = 60.0
# Idle connections kept for each channel; each costs a process inside, and calls beyond it only pay for a new one.
_KEPT = 4
# An answer is kept whole in the harness's memory. What a command printed, both streams, is the largest that is asked for; a
# caller who asks for more than its cap of 2 MiB a stream is not met so far.
_MAX_ANSWER = 64 * 1024 * 1024
# What reading an answer raises that is not execd's: of other types, nested without end, numbers that are none.
NONSENSE = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)


class Channel:
    """Connections to one socket, kept for the next call."""

    def __init__(self, host: SandboxHost, name: ChannelName) -> None:
        self._host, self._name = host, name
        self._idle: list[Wire] = []
        self._lock = threading.Lock()
        self._owner = os.getpid()

    @contextlib.contextmanager
    def call(self, timeout_s: float | None, keep: bool = True, new: bool = False) -> Iterator[Wire]:
        """Lend a connection, on demand a new one; it is kept if the block ends well and ``keep`` is said, closed if not.

        Raises:
            SandboxUnavailable: nobody answers, or the connection broke.
        """
        wire = self._open() if new else self._take()
        wire.sock.settimeout(timeout_s)
        kept = False
        try:
            yield wire
            kept = True
        except TimeoutError as exc:
            raise self._unavailable(f"no answer within {timeout_s:.0f} s") from exc
        except WireClosed as exc:
            raise self._unavailable("the connection broke") from exc
        except NONSENSE as exc:  # it lives with the agent: whatever answers is believed in nothing
            raise self._unavailable(f"its answer makes no sense ({exc!r:.200})") from exc
        except SandboxAnswer as exc:
            kept = True
            raise exc.error from None
        finally:
            if not (kept and keep) or not self._give_back(wire):
                wire.close()

    def ask(
        self, head: Head, body: bytes = b"", *, timeout_s: float = SILENCE_S, keep: bool = True, harmless: bool = False
    ) -> tuple[Head, bytes]:
        """Return the answer to one question.

        A kept connection's worker may be about to die (when the command service is killed for want of memory, all workers are):
        a question that it did not read is asked again, once, of a new one; a ``harmless`` one also when that is not known.

        Raises:
            SandboxUnavailable: nobody answers, or the connection broke.
        """

        def once(new: bool) -> tuple[Head, bytes]:
            with self.call(timeout_s, keep, new) as wire:
                wire.send(head, body)
                answer, data = wire.receive()
                raise_error(answer)
                return answer["ok"], data

        try:
            return once(new=False)
        except SandboxUnavailable as exc:
            if not isinstance(exc.__cause__, WireClosed if harmless else Unread):
                raise
        return once(new=True)

    def once(self) -> Wire:
        """Open a connection that is not kept."""
        return self._open()

    def close(self) -> None:
        """Close what is kept."""
        with self._lock:
            idle, self._idle = self._idle, []
        for wire in idle:
            wire.close()

    def _take(self) -> Wire:
        with self._lock:
            if self._owner != os.getpid():  # after a fork these connections belong to the parent
                self._idle, self._owner = [], os.getpid()
            while self._idle:
                wire = self._idle.pop()
                if not _stale(wire):
                    return wire
                wire.close()
        return self._open()

    def _open(self) -> Wire:
        try:
            return Wire(self._host.connect(self._name), _MAX_ANSWER)
        except OSError as exc:
            raise self._unavailable(exc.strerror or str(exc)) from exc

    def _give_back(self, wire: Wire) -> bool:
        with self._lock:
            if len(self._idle) >= _KEPT or self._owner != os.getpid():
                return False
            self._idle.append(wire)
            return True

    def _unavailable(self, what: str) -> SandboxUnavailable:
        death = self._host.cause_of_death()
        return SandboxUnavailable(f"the sandbox does not answer: {what}; {death.text}", death=death)


class SandboxAnswer(Exception):
    """Carries the error that execd answered with, so that the connection is kept."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _stale(wire: Wire) -> bool:
    poll = select.poll()
    poll.register(wire.sock, select.POLLIN | select.POLLRDHUP)
    return bool(poll.poll(0))


def raise_error(head: Head) -> None:
    """Raise what an answer says went wrong, if it does.

    Raises:
        SandboxAnswer: with the error.
        OSError: no process could be made (EAGAIN).
    """
    error = head.get("error")
    if error is None:
        return
    if error["kind"] == "os":
        raise SandboxAnswer(OSError(error["errno"], error["message"], error["path"] or None))
    if error["kind"] == "busy":
        raise OSError(errno.EAGAIN, error["message"])
    raise SandboxAnswer(SandboxError(error["message"], code=error["code"]))


def require_ok(head: Head) -> None:
    """Refuse an answer that says neither.

    Raises:
        ValueError: it does not.
    """
    if "ok" not in head:
        raise ValueError("an answer that is neither ok nor an error")
