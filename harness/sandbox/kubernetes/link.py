"""From the harness to a pod's door: TLS to the one certificate that is expected, and a first line that says where to."""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.sandbox.jail.door import PORT, keep_alive

_CONNECT_S = 10.0


class TlsSocket(ssl.SSLSocket):
    """A TLS connection that breaks as a plain one does, and that another thread may shut down."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive; see `socket.recv`."""
        try:
            return super().recv(buflen, flags)
        except ssl.SSLError as exc:
            raise ConnectionResetError(str(exc)) from exc
        except ValueError as exc:  # it was closed by another thread
            raise ConnectionResetError(str(exc)) from exc

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send; see `socket.sendall`."""
        try:
            super().sendall(data, flags)
        except ssl.SSLError as exc:
            raise BrokenPipeError(str(exc)) from exc

    def shutdown(self, how: int) -> None:
        """End the connection below; the other thread's call sees it broken."""
        socket.socket.shutdown(self, how)


@dataclass(frozen=True)
class Link:
    """Where a pod's door is and what opens it."""

    address: str
    certificate: str
    token: str

    @cached_property
    def context(self) -> ssl.SSLContext:
        """What takes this certificate and no other; who calls itself how is of no account."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.load_verify_locations(cadata=self.certificate)
        context.sslsocket_class = TlsSocket
        return context

    def hello(self, to: str, **more: int) -> bytes:
        """Return the first line of a connection."""
        return json.dumps({"token": self.token, "to": to, **more}).encode() + b"\n"

    def connect(self, to: str) -> socket.socket:
        """Open a connection to "control", "commands" or "end". Raises OSError when nobody answers."""
        sock = socket.create_connection((self.address, PORT), timeout=_CONNECT_S)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            keep_alive(sock)
            wrapped = self.context.wrap_socket(sock)
        except BaseException:
            sock.close()
            raise
        try:
            wrapped.sendall(self.hello(to))
            wrapped.settimeout(None)
        except BaseException:
            wrapped.close()
            raise
        return wrapped
