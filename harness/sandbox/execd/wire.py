"""Frames on a stream socket: a JSON head and raw bytes. Both ends use this file.

A request is one frame with ``op``; its answer is one frame with ``ok`` or ``error``. A stream (archive, extract, read) is frames
with a body, ended by one whose head has ``end`` or ``error``.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from typing import Any

_SIZES = struct.Struct("!IQ")
# argv and environment of one exec travel in the head; Linux itself takes at most a quarter of an 8 MiB stack for them.
MAX_HEAD = 8 * 1024 * 1024
CHUNK = 256 * 1024
# A body that is kept whole: what a command printed, up to its cap, or what it reads. Files and archives are streams.
MAX_BODY = 1024 * 1024 * 1024

Head = dict[str, Any]


class WireClosed(Exception):
    """The other end is gone."""


class Unread(WireClosed):
    """The other end is gone, and had not read all that was sent to it: what that asked for was not begun."""


class Wire:
    """One end of a connection. Not safe for several threads at once."""

    def __init__(self, sock: socket.socket, max_body: int = MAX_BODY) -> None:
        self.sock, self.max_body = sock, max_body

    def send(self, head: Head, *bodies: bytes | bytearray | memoryview) -> None:
        """Send one frame whose body is the ``bodies`` one after the other.

        Raises:
            WireClosed: the other end is gone.
        """
        encoded = json.dumps(head, separators=(",", ":")).encode()
        first = _SIZES.pack(len(encoded), sum(len(b) for b in bodies)) + encoded
        try:
            if sum(len(b) for b in bodies) <= CHUNK:
                self.sock.sendall(b"".join([first, *bodies]))
                return
            self.sock.sendall(first)
            for body in bodies:
                self.sock.sendall(body)
        except (BrokenPipeError, ConnectionResetError) as exc:  # a part may have come, and who takes a body may have begun
            raise (WireClosed if any(bodies) else self._unread())(str(exc)) from exc

    def _unread(self) -> type[WireClosed]:
        """Return what a broken connection means: on a unix socket a reset says that bytes were left unread, elsewhere nothing."""
        return Unread if self.sock.family == socket.AF_UNIX else WireClosed

    def send_from(self, head: Head, read: Callable[[int], bytes], size: int) -> None:
        """Send one frame whose body is the next ``size`` bytes that ``read`` gives, a piece at a time.

        Raises:
            WireClosed: the other end is gone.
            ValueError: there are fewer; the connection is of no use any more.
        """
        encoded = json.dumps(head, separators=(",", ":")).encode()
        try:
            self.sock.sendall(_SIZES.pack(len(encoded), size) + encoded)
            while size:
                piece = read(min(size, CHUNK))
                if not piece:
                    raise ValueError(f"{size} bytes are missing")
                self.sock.sendall(piece)
                size -= len(piece)
        except (BrokenPipeError, ConnectionResetError) as exc:
            raise WireClosed(str(exc)) from exc

    def receive_head(self) -> tuple[Head, int]:
        """Return the next frame's head and the length of its body, which must be read next.

        Raises:
            WireClosed: the other end is gone.
            ValueError: what came is no frame.
        """
        head_size, body_size = _SIZES.unpack(self.read(_SIZES.size))
        if head_size > MAX_HEAD:
            raise ValueError(f"a frame's head of {head_size} bytes")
        head = json.loads(self.read(head_size))
        if not isinstance(head, dict):
            raise ValueError("a frame's head that is no object")
        return head, body_size

    def receive(self) -> tuple[Head, bytes]:
        """Return the next frame's head and body.

        Raises:
            WireClosed: the other end is gone.
            ValueError: what came is no frame, or one that nobody sends.
        """
        head, size = self.receive_head()
        if size > self.max_body:
            raise ValueError(f"a frame's body of {size} bytes")
        return head, self.read(size)

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes.

        Raises:
            WireClosed: the other end is gone.
        """
        parts: list[bytes] = []
        while size:
            part = self.read_some(size)
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_some(self, size: int) -> bytes:
        """Return between one and ``size`` bytes, as they come."""
        try:
            part = self.sock.recv(min(size, CHUNK))
        except ConnectionResetError as exc:
            raise self._unread()(str(exc)) from exc
        if not part:
            raise WireClosed("the connection was closed")
        return part

    def skip(self, size: int) -> None:
        """Read ``size`` bytes and forget them."""
        while size:
            size -= len(self.read_some(size))

    def close(self) -> None:
        """Close this end."""
        self.sock.close()
