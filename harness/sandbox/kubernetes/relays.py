"""The harness's end of a pod's relays: connections that it makes to the door and that wait there for who connects inside.

So nothing has to be opened from the pod outward. One loop in one thread serves all pods of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from harness.sandbox.base import Relay
from harness.sandbox.execd.relay import RETRY_FOR_S
from harness.sandbox.jail.door import GO, PORT, Stream, carry_frames, keep_alive
from harness.sandbox.kubernetes.link import Link

# so many wait for each relay; one that is taken is replaced at once
_WAITING = 4
# So many of one relay are carried at a time; further ones wait at the door, as where the harness is away.
_CARRIED = 48
# What each of them may hold in the harness at each of its stations, in bytes: all runs of a batch share its memory, and what an
# agent does not read stays there. asyncio's own bounds make a megabyte of each, 139 MB of 140 connections.
# The kernel's buffer is left as it is: with a small one it drops what a node's network hands it in one piece, and waits.
_AHEAD = 16 * 1024
_AGAIN_S = 0.5
_OPEN_S = 20.0


class RelayEnds:
    """The ends of one pod's relays, from `start` to `stop`, or until nobody has this object any more."""

    def __init__(self, link: Link, relays: Sequence[Relay]) -> None:
        self._link = link
        self._relays = tuple(relays)
        self._stop: weakref.finalize[[], RelayEnds] | None = None

    def start(self) -> None:
        """Begin, if there are relays."""
        if self._relays and self._stop is None:
            work = asyncio.run_coroutine_threadsafe(_serve(self._link, self._relays), _loop())
            _works.add(work)  # a loop alone holds no task
            work.add_done_callback(_works.discard)
            self._stop = weakref.finalize(self, work.cancel)
            self._stop.atexit = False

    def stop(self) -> None:
        """End all connections."""
        if self._stop is not None:
            self._stop()


async def _serve(link: Link, relays: Sequence[Relay]) -> None:
    async with asyncio.TaskGroup() as group:
        for number, relay in enumerate(relays):
            room = asyncio.Semaphore(_CARRIED)
            for _ in range(_WAITING):
                group.create_task(_wait(link, group, room, number, relay.socket))


async def _wait(link: Link, group: asyncio.TaskGroup, room: asyncio.Semaphore, number: int, path: Path) -> None:
    """Wait at the door, and when somebody has come, let another wait in this one's place."""
    while True:
        try:
            outside = await _open(link, number)
        except (OSError, TimeoutError):
            await asyncio.sleep(_AGAIN_S)  # the pod is not there yet, or its network is away
            continue
        taken = False
        try:
            with contextlib.suppress(OSError):
                if await outside[0].read(1) == GO:
                    await room.acquire()
                    carried = group.create_task(_carry(outside, path))
                    carried.add_done_callback(partial(_carried, room, outside[1]))
                    taken = True
        finally:  # also when these ends are stopped: Python closes no connection by itself before 3.11.5
            if not taken:
                outside[1].transport.abort()
        if not taken:
            await asyncio.sleep(_AGAIN_S)


async def _open(link: Link, number: int) -> Stream:
    async with asyncio.timeout(_OPEN_S):
        sock = socket.socket(socket.AF_INET6 if ":" in link.address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            keep_alive(sock)
            await asyncio.get_running_loop().sock_connect(sock, (link.address, PORT))
        except BaseException:
            sock.close()
            raise
        # From here on asyncio closes it, also when these ends are stopped just now: closed under asyncio, its number would be the
        # next connection's while asyncio still has the old one under it.
        stream = await asyncio.open_connection(sock=sock, ssl=link.context, server_hostname="", limit=_AHEAD)
        _hold_little(stream[1].transport)
        stream[1].write(link.hello("relay", relay=number))
        return stream


def _hold_little(transport: Any) -> None:
    """Bound what a TLS connection keeps of either direction, and the buffer that it receives into."""
    transport.set_write_buffer_limits(_AHEAD)
    transport.set_read_buffer_limits(_AHEAD)
    protocol = transport._ssl_protocol  # there is no public way; where this is away, row 35 of the attacks says so
    protocol.max_size = _AHEAD
    protocol._ssl_buffer = bytearray(_AHEAD)
    protocol._ssl_buffer_view = memoryview(protocol._ssl_buffer)


def _carried(room: asyncio.Semaphore, outside: asyncio.StreamWriter, _: asyncio.Task[None]) -> None:
    """Make room; also where the work was stopped before its first step."""
    outside.close()
    room.release()


async def _carry(outside: Stream, path: Path) -> None:
    """Connect to the harness's socket, which may be away for a while, and carry bytes until both ends have ended.

    What breaks ends this connection alone: the others of the pod are in the same group of tasks.
    """
    deadline = time.monotonic() + RETRY_FOR_S
    while True:
        try:
            inside = await asyncio.open_unix_connection(str(path), limit=_AHEAD)
            break
        except OSError:
            if time.monotonic() > deadline or outside[1].is_closing() or outside[0].at_eof():
                return
            await asyncio.sleep(0.2)
    try:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, RuntimeError):  # one was closed while it was written to
            await carry_frames(inside, outside)
    finally:
        inside[1].close()


_lock = threading.Lock()
_works: set[Future[None]] = set()
_running: asyncio.AbstractEventLoop | None = None


def _loop() -> asyncio.AbstractEventLoop:
    global _running
    with _lock:
        if _running is None or _running.is_closed():
            _running = asyncio.new_event_loop()
            threading.Thread(target=_running.run_forever, name="dojo-relays", daemon=True).start()
        return _running
