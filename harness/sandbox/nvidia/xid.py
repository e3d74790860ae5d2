"""Errors of the hardware and the driver (XID) in the kernel's log, told apart from those that programs bring about themselves."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# NVIDIA's list of XIDs by whose fault they usually are. Left out are those that a kernel of the agent's can raise (13 exception,
# 31 page fault, 43 and 45 channel reset, 69 class error, 109 timeout): were these ours, an agent could end its run uncounted.
HARDWARE = {
    48: "memory error that cannot be corrected",
    61: "the GPU's microcontroller broke down",
    62: "the GPU's microcontroller halted",
    64: "a bad page or row could not be retired",
    74: "NVLink error",
    79: "the GPU has fallen off the bus",
    92: "many memory errors",
    94: "contained memory error",
    95: "uncontained memory error",
    119: "the GPU's system processor does not answer",
    120: "the GPU's system processor broke down",
    140: "memory error in the GPU",
}
_LINE = re.compile(r"NVRM: Xid \(PCI:([0-9A-Fa-f:]+)[^)]*\): (\d+)(?:, *(.*))?")
_PIECE = 8192


@dataclass(frozen=True)
class Xid:
    """One such line: ``at_s`` seconds after the machine's start, ``bus`` as ``0000:3b:00``."""

    at_s: float
    bus: str
    number: int
    text: str

    @property
    def hardware(self) -> bool:
        """Whether no program can be to blame."""
        return self.number in HARDWARE


def read(log: Path = Path("/dev/kmsg")) -> list[Xid]:
    """Return what the kernel's log tells; nothing where this process may not read it, as in most containers."""
    return [found for line in _lines(log) if (found := _parsed(line)) is not None]


def _lines(log: Path) -> Iterator[str]:
    try:
        descriptor = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return
    try:
        rest = b""
        while True:
            try:
                piece = os.read(descriptor, _PIECE)
            except BrokenPipeError:  # the line was overwritten before we came to it
                continue
            except OSError:  # no more for now
                break
            if not piece:
                break
            *whole, rest = (rest + piece).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)
    finally:
        os.close(descriptor)


def _parsed(line: str) -> Xid | None:
    head, _, text = line.partition(";")
    match, fields = _LINE.search(text), head.split(",")
    if match is None or len(fields) < 3 or not fields[2].isdigit():
        return None
    return Xid(int(fields[2]) / 1e6, match[1].lower(), int(match[2]), (match[3] or "").strip()[:300])
