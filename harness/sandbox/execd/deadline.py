"""The moment at which everything of the agent ends, whether or not anybody is connected.

It lies in a file without a name that the first process makes, so it outlives every worker, the command service and the harness.
Workers of the control service write it; the command service may only read it; commands never hold it. The clock is
CLOCK_BOOTTIME, which nobody can set and which goes on while the machine is suspended: a budget is time in the world, and a
laptop that was closed for the night must not give its agent the night.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Callable

from . import syscalls

# in the file: when the agent ends (0: never), and when the first process last began to end it (0: not yet); nanoseconds
_MOMENT, _LAST_END = 0, 8
_NUMBER = struct.Struct("=Q")
_LONG_AGO = 1
_NEVER_LATER_S = 10 * 365 * 86400.0
# between rounds of killing: moments at first, and a breath for what sits in the kernel and takes its time to die
_ROUND_MS, _LATE_ROUND_MS, _EAGER_ROUNDS = 2.0, 50.0, 250


class Deadline:
    """The moment, shared by execd's processes."""

    def __init__(self, record: int, alarm: int) -> None:
        self._record = record
        self.alarm = alarm

    @classmethod
    def make(cls) -> Deadline:
        """Make one that is not set."""
        record = os.memfd_create("dojo-deadline")
        os.ftruncate(record, _LAST_END + _NUMBER.size)
        return cls(record, syscalls.make_timer())

    def for_reading(self) -> Deadline:
        """Return what the command service needs, and close what it does not."""
        record = os.open(f"/proc/self/fd/{self._record}", os.O_RDONLY | os.O_CLOEXEC)
        os.close(self._record)
        os.close(self.alarm)
        return Deadline(record, -1)

    def set(self, seconds: float | None) -> None:
        """Let it be in ``seconds`` from now, whatever it was; None: never."""
        moment = 0 if seconds is None else now() + int(min(max(0.0, seconds), _NEVER_LATER_S) * 1e9)
        self._write(_MOMENT, moment)
        syscalls.set_timer(self.alarm, _LONG_AGO)  # rings at once: the first process looks at the new moment

    @property
    def moment(self) -> int:
        """When it is, nanoseconds of the clock; 0: never."""
        return self._read(_MOMENT)

    @property
    def over(self) -> bool:
        """Whether it has passed. Then nothing of the agent may run."""
        return 0 < self.moment <= now()

    @property
    def last_end(self) -> int:
        """When the agent was last ended, 0 if it never was; a number that changes each time."""
        return self._read(_LAST_END)

    def note_end(self) -> None:
        """Say that the agent is being ended now."""
        self._write(_LAST_END, now())

    def _read(self, offset: int) -> int:
        value: int = _NUMBER.unpack(os.pread(self._record, _NUMBER.size, offset))[0]
        return value

    def _write(self, offset: int, value: int) -> None:
        os.pwrite(self._record, _NUMBER.pack(value), offset)


class Term:
    """The deadline as one process meets it: from here on, did it come?"""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._before = deadline.last_end
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether it did, though it may have been moved or taken back since."""
        self._ended = self._ended or self._deadline.over or self._deadline.last_end != self._before
        return self._ended


class Watch:
    """Keeps the deadline, from the loop of the process that outlives all others.

    Args:
        deadline: what to keep.
        kill: kills what runs for the agent, given the number of rounds before; returns what is left.
    """

    def __init__(self, deadline: Deadline, kill: Callable[[int], list[int]]) -> None:
        self._deadline = deadline
        self._kill = kill
        self._rounds = 0
        self._kept = 0

    @property
    def descriptor(self) -> int:
        """What to poll: when it is readable, `look`."""
        return self._deadline.alarm

    def look(self) -> float | None:
        """Do what is to be done now; return after how many milliseconds to look again, None for not before the next ring."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._deadline.alarm, 8)
        moment = self._deadline.moment
        if not 0 < moment <= now():
            self._rounds = 0
            syscalls.set_timer(self._deadline.alarm, moment)
            return None
        if moment == self._kept:
            return None
        if not self._rounds:
            self._deadline.note_end()
        left = self._kill(self._rounds)
        self._rounds += 1
        if left:
            return _ROUND_MS if self._rounds < _EAGER_ROUNDS else _LATE_ROUND_MS
        self._rounds, self._kept = 0, moment
        return None


def now() -> int:
    """Return nanoseconds of the clock."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
