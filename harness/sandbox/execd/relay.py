"""Relays: a loopback port that leads to a unix socket of the harness, one process for all connections of all relays.

While nobody listens on the socket (the harness restarts), accepted connections wait and are retried.
"""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
import time

from .settings import RelaySettings

# as long as a crashed harness may take to be resumed
RETRY_FOR_S = 600.0
_RETRY_EVERY_S = 0.2
_BUFFER = 256 * 1024
# beyond it, connections wait in the listener's queue
MAX_CONNECTIONS = 512


class _Direction:
    """Bytes on their way from one socket to the other."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source, self.target = source, target
        self.buffer = bytearray()
        self.source_ended = False
        self.finished = False

    def pull(self) -> None:
        """Read what there is."""
        data = self.source.recv(64 * 1024)
        self.buffer += data
        self.source_ended = not data

    def push(self) -> None:
        """Write what goes; pass the end on when all is written."""
        if self.buffer:
            del self.buffer[: self.target.send(self.buffer)]
        if self.source_ended and not self.buffer and not self.finished:
            self.finished = True
            self.target.shutdown(socket.SHUT_WR)


class _Connection:
    """One accepted connection and, once the harness answers, its other half."""

    def __init__(self, client: socket.socket, relay: RelaySettings) -> None:
        client.setblocking(False)
        self.client, self.relay = client, relay
        self.server: socket.socket | None = None
        self.give_up_at = time.monotonic() + RETRY_FOR_S
        self.up: _Direction | None = None
        self.down: _Direction | None = None

    def try_connect(self) -> bool:
        """Connect to the harness; false when nobody is there now."""
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.setblocking(False)  # a full queue is a reason to try again, not to wait
        try:
            # the folder was opened before the host's files went out of sight, so a socket made anew in it is found
            server.connect(f"/proc/self/fd/{self.relay.directory}/{self.relay.name}")
        except OSError:
            server.close()
            return False
        self.server = server
        self.up, self.down = _Direction(self.client, server), _Direction(server, self.client)
        return True

    def interest(self) -> dict[socket.socket, int]:
        """Return what to wait for on each socket."""
        wanted: dict[socket.socket, int] = {}
        for direction in (self.up, self.down):
            if direction is None:
                continue
            if not direction.source_ended and len(direction.buffer) < _BUFFER:
                wanted[direction.source] = wanted.get(direction.source, 0) | selectors.EVENT_READ
            if direction.buffer or (direction.source_ended and not direction.finished):
                wanted[direction.target] = wanted.get(direction.target, 0) | selectors.EVENT_WRITE
        return wanted

    def move(self, sock: socket.socket, events: int) -> bool:
        """Move bytes; false when the connection is over."""
        try:
            for direction in (self.up, self.down):
                assert direction is not None
                if direction.source is sock and events & selectors.EVENT_READ:
                    direction.pull()
                if sock in (direction.source, direction.target):
                    with contextlib.suppress(BlockingIOError):
                        direction.push()
        except BlockingIOError:
            return True
        except OSError:
            return False
        assert self.up is not None and self.down is not None
        return not (self.up.finished and self.down.finished)

    def close(self) -> None:
        """Close both halves."""
        self.client.close()
        if self.server is not None:
            self.server.close()


class RelayLoop:
    """Serves all relays for ever."""

    def __init__(self, listeners: list[tuple[socket.socket, RelaySettings]]) -> None:
        self._listeners = listeners
        self._selector = selectors.DefaultSelector()
        self._open: set[_Connection] = set()
        self._waiting: set[_Connection] = set()
        self._watched: dict[socket.socket, int] = {}
        for listener, relay in listeners:
            listener.setblocking(False)
            self._selector.register(listener, selectors.EVENT_READ, relay)
        self._accepting = True

    def run(self) -> None:
        """Loop."""
        while True:
            timeout = _RETRY_EVERY_S if self._waiting else None
            for key, events in self._selector.select(timeout):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if isinstance(key.data, RelaySettings):
                    self._accept(sock, key.data)
                elif key.data in self._open:
                    self._serve(key.data, sock, events)
            self._retry()
            self._accept_while_room()

    def _accept(self, listener: socket.socket, relay: RelaySettings) -> None:
        with contextlib.suppress(OSError):
            client, _ = listener.accept()
            connection = _Connection(client, relay)
            self._open.add(connection)
            if connection.try_connect():
                self._watch(connection)
            else:
                self._waiting.add(connection)

    def _serve(self, connection: _Connection, sock: socket.socket, events: int) -> None:
        if connection.move(sock, events):
            self._watch(connection)
        else:
            self._drop(connection)

    def _retry(self) -> None:
        now = time.monotonic()
        for connection in list(self._waiting):
            if connection.try_connect():
                self._waiting.discard(connection)
                self._watch(connection)
            elif now >= connection.give_up_at or _hung_up(connection.client):
                self._drop(connection)

    def _accept_while_room(self) -> None:
        room = len(self._open) < MAX_CONNECTIONS
        if room == self._accepting:
            return
        self._accepting = room
        for listener, relay in self._listeners:
            if room:
                self._selector.register(listener, selectors.EVENT_READ, relay)
            else:
                self._selector.unregister(listener)

    def _watch(self, connection: _Connection) -> None:
        wanted = connection.interest()
        for sock in (connection.client, connection.server):
            if sock is None:
                continue
            before, now = self._watched.get(sock, 0), wanted.get(sock, 0)
            if before == now:
                continue
            if not before:
                self._selector.register(sock, now, connection)
            elif not now:
                self._selector.unregister(sock)
            else:
                self._selector.modify(sock, now, connection)
            self._watched[sock] = now

    def _drop(self, connection: _Connection) -> None:
        self._open.discard(connection)
        self._waiting.discard(connection)
        for sock in (connection.client, connection.server):
            if sock is not None and self._watched.pop(sock, 0):
                self._selector.unregister(sock)
        connection.close()


def _hung_up(client: socket.socket) -> bool:
    """Whether the client went away while it waited; one that only ended its sending is still there."""
    poll = select.poll()
    poll.register(client, 0)
    return bool(poll.poll(0))


def listen(relays: tuple[RelaySettings, ...]) -> list[tuple[socket.socket, RelaySettings]]:
    """Open the loopback ports."""
    listeners = []
    for relay in relays:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what it accepts has it too: small pieces go at once
        listener.bind(("127.0.0.1", relay.port))
        listener.listen(256)
        listeners.append((listener, relay))
    return listeners
