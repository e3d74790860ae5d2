"""Who holds a lease: one process of one host, told apart from a later one with the same number."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

# Field 22 of /proc/PID/stat counted from the state, which follows the name in brackets (proc(5)); the state is the first.
_START_TIME = 19
_GONE = ("Z", "X")


@dataclass(frozen=True)
class Owner:
    """A process.

    Attributes:
        host: its name, for people.
        boot: the boot of the kernel and the namespace in which ``pid`` means something.
        pid: the process.
        started: when it started, in the kernel's ticks: numbers are given out again.
    """

    host: str
    boot: str
    pid: int
    started: str

    @classmethod
    def here(cls) -> Owner:
        """Return this process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Owner:
        """Return a process that this one sees under the number ``pid``."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        state = _stat(pid)
        return cls(socket.gethostname(), f"{boot} {os.readlink('/proc/self/ns/pid')}", pid, state[_START_TIME] if state else "")

    def alive(self, seen_from: Owner) -> bool | None:
        """Whether the process lives; None where ``seen_from`` cannot tell, as it is elsewhere."""
        if self.boot != seen_from.boot:
            return None
        fields = _stat(self.pid)
        return fields is not None and fields[0] not in _GONE and fields[_START_TIME] == self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _stat(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
