"""The door of a pod: one TLS port, behind it execd's sockets and the far ends of the relays.

A connection says in its first line who it is and where it wants to go. To "control" and "commands" it is passed through as it
is. To "relay" it waits here until somebody inside connects to that relay; then it gets `GO` and carries frames, since TLS cannot
end one direction alone: four bytes with a length, that many bytes, and a length of 0 for the end of sending.

Whoever is inside reaches this port too. A connection from an address of the pod's own is closed before anything is read of it, so
that the agent can neither try tokens nor take the places of the harness.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hmac
import json
import os
import socket
import ssl
import struct
from collections.abc import Coroutine
from typing import Any

from .make import SOCKETS

PORT = 7443
GO = b"g"
FRAME = struct.Struct("!I")
CHUNK = 256 * 1024
_HELLO_S = 15.0
# as long as a crashed harness may take to be resumed; execd's own relays wait as long
_WAIT_S = 600.0
_CONNECTIONS = 1024

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Door:
    """Lets the harness in.

    Args:
        secret: folder with ``cert.pem``, ``key.pem`` and ``token``.
        sockets: folder of execd's sockets.
        relays: for each relay the listening socket that execd's relay connects to.
    """

    def __init__(self, secret: str, sockets: str, relays: list[socket.socket]) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.num_tickets = 0  # bytes that nobody asked for would make an idle connection look used
        self._context.load_cert_chain(f"{secret}/cert.pem", f"{secret}/key.pem")
        with open(f"{secret}/token", encoding="ascii") as file:
            self._token = file.read().strip()
        self._sockets = {name: f"{sockets}/{file}" for name, file in zip(("control", "commands"), SOCKETS, strict=True)}
        self._relays = relays
        self._waiting: list[asyncio.Queue[Stream]] = []
        self._taken: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()

    async def serve(self, first: int) -> None:
        """Serve until the harness says that this stage is over, or the process ``first`` ends."""
        loop = asyncio.get_running_loop()
        loop.add_reader(os.pidfd_open(first), self.end)
        listener = (
            socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True)
            if _has_ipv6()
            else (socket.create_server(("", PORT), backlog=256))
        )
        listener.setblocking(False)
        self._waiting = [asyncio.Queue() for _ in self._relays]
        for number, relay in enumerate(self._relays):
            relay.setblocking(False)
            self._begin(self._accept_inside(number, relay))
        self._begin(self._accept(listener))
        await self._ended.wait()

    def end(self) -> None:
        """Let `serve` return."""
        self._ended.set()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, peer = await loop.sock_accept(listener)
            except OSError:  # no descriptor left: those who leave give theirs back
                await asyncio.sleep(0.1)
                continue
            if is_own(peer[0]) or len(self._tasks) > _CONNECTIONS:
                sock.close()
                continue
            self._begin(self._welcome(sock))

    async def _welcome(self, sock: socket.socket) -> None:
        """Find out who it is and take it where it wants to go."""
        with contextlib.suppress(OSError, TimeoutError, ValueError, KeyError, IndexError, TypeError, asyncio.IncompleteReadError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_alive(sock)
            stream = await _over_tls(sock, self._context)
            try:
                async with asyncio.timeout(_HELLO_S):
                    hello = json.loads(await stream[0].readline())
                if hmac.compare_digest(str(hello["token"]), self._token):
                    await self._lead(hello, stream)
            finally:
                if stream[1] not in self._taken:  # what has been read of it is still to be given to who is inside
                    stream[1].close()

    async def _lead(self, hello: dict[str, Any], stream: Stream) -> None:
        to = hello["to"]
        if to == "end":
            self.end()
        elif to == "relay":
            await self._wait_inside(stream, self._waiting[hello["relay"]])
        else:
            inside = await asyncio.open_unix_connection(self._sockets[to], limit=CHUNK)
            await pass_through(stream, inside)

    async def _wait_inside(self, stream: Stream, waiting: asyncio.Queue[Stream]) -> None:
        """Offer the connection to whoever connects inside; it lives until that is over, or the harness hangs up."""
        waiting.put_nowait(stream)
        await stream[1].wait_closed()

    async def _accept_inside(self, number: int, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError:
                await asyncio.sleep(0.1)
                continue
            self._begin(self._carry(sock, self._waiting[number]))

    async def _carry(self, sock: socket.socket, waiting: asyncio.Queue[Stream]) -> None:
        """Give a connection from inside one of those that wait for it."""
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            inside = await asyncio.open_unix_connection(sock=sock, limit=CHUNK)
            try:
                async with asyncio.timeout(_WAIT_S):
                    outside = await waiting.get()
                    while outside[1].is_closing() or outside[0].at_eof():
                        outside[1].close()
                        outside = await waiting.get()
                self._taken.add(outside[1])
                try:
                    outside[1].write(GO)
                    await carry_frames(inside, outside)
                finally:
                    self._taken.discard(outside[1])
                    outside[1].close()
            finally:
                inside[1].close()


async def pass_through(one: Stream, other: Stream) -> None:
    """Move bytes both ways until either side ends; what was read of one has then been given to the other."""

    async def move(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                target.write(data)
                await target.drain()

    both = [asyncio.ensure_future(move(one[0], other[1])), asyncio.ensure_future(move(other[0], one[1]))]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in both:
            task.cancel()
        for _, writer in (one, other):
            writer.close()


async def carry_frames(plain: Stream, framed: Stream) -> None:
    """Move bytes between a connection whose directions end one by one and one that carries frames, until both have ended."""

    async def pack() -> None:
        while data := await plain[0].read(CHUNK):
            framed[1].write(FRAME.pack(len(data)) + data)
            await framed[1].drain()
        framed[1].write(FRAME.pack(0))
        await framed[1].drain()

    async def unpack() -> None:
        while size := FRAME.unpack(await framed[0].readexactly(FRAME.size))[0]:
            if size > CHUNK:
                raise ConnectionError(f"a frame of {size} bytes")
            plain[1].write(await framed[0].readexactly(size))
            await plain[1].drain()
        plain[1].write_eof()

    both = [asyncio.ensure_future(pack()), asyncio.ensure_future(unpack())]
    try:
        await asyncio.gather(*both)
    finally:
        for task in both:
            task.cancel()


def keep_alive(sock: socket.socket) -> None:
    """Let the kernel notice within a minute that the other machine is gone."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 5)):
        sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def is_own(address: str) -> bool:
    """Whether an address is one of this machine's own: only then a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    mapped = address.removeprefix("::ffff:")
    if mapped != address and "." in mapped:
        family, address = socket.AF_INET, mapped
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError as exc:
            return exc.errno != errno.EADDRNOTAVAIL
    return True


def _has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return socket.has_dualstack_ipv6()


async def _over_tls(sock: socket.socket, context: ssl.SSLContext) -> Stream:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=CHUNK)
    protocol = asyncio.StreamReaderProtocol(reader)
    try:
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock, ssl=context, ssl_handshake_timeout=_HELLO_S)
    except BaseException:
        sock.close()
        raise
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
