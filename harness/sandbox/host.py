"""What a backend gives for one sandbox: how to reach its execd, what it knows from outside, how it ends."""

from __future__ import annotations

import socket
from typing import Literal, Protocol

from harness.spec.outcome import Death

# execd's two sockets: one for everything that must work when the limits are reached, one for running commands
Channel = Literal["control", "commands"]


class SandboxHost(Protocol):
    """One sandbox as its backend sees it, whatever machine it is on."""

    def connect(self, channel: Channel) -> socket.socket:
        """Open a connection to execd. Raises OSError when nobody answers."""
        ...

    def cause_of_death(self) -> Death:
        """Return what is known about why it does not answer."""
        ...

    def measured(self) -> tuple[float | None, float | None, int]:
        """Return CPU seconds, peak memory in MB (None where nobody counts outside) and out-of-memory kills."""
        ...

    def destroy(self) -> None:
        """Remove everything of the sandbox."""
        ...
