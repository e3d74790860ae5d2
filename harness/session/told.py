"""What an agent causes, on its way into the run's events: one writer, one cap; errors that repeat are counted, not repeated.

The events are on the harness's disk, and every process that looks at a run reads them whole.
"""

from __future__ import annotations

import threading
from collections import Counter

from harness.session.journal import Journal
from harness.spec.errors import DojoError
from harness.spec.event import Failed, Payload

# Calls that are not metered (commands, files, notes, validate) are recorded until events.jsonl is this large. Twelve hours of an
# honest agent are some ten megabytes; without an end, notes alone could write the host's disk full.
EVENTS_BYTES = 256 * 1024 * 1024
# Calls of the backbone cannot go unrecorded, since their budget is folded from the events: beyond this they are refused. It is
# twice the other cap, so that an agent cannot take the backbone from itself by notes.
CALLS_BYTES_FACTOR = 2
# Kinds of errors told apart; a server inside that an agent has taken over could name codes of its own without end.
_KINDS = 50
# Of a message: it may hold a path or what a library said.
_MESSAGE, _HINT = 2_000, 500


class Told:
    """The way into a run's events for what its agent causes. Thread-safe.

    Args:
        journal: the run's events.
        most: bytes of events.jsonl beyond which what need not be recorded is not.
    """

    def __init__(self, journal: Journal, most: int = EVENTS_BYTES) -> None:
        self._journal, self._most = journal, most
        self._lock = threading.Lock()
        self._said_full = False
        self._seen: Counter[tuple[str, str]] = Counter()

    def tell(self, payload: Payload) -> bool:
        """Record a call that is not metered while there is room; return whether there was."""
        if self.full():
            return False
        self._journal.emit(payload)
        return True

    def full(self) -> bool:
        """Whether the agent's calls have filled the events; says so in them once."""
        if self._size() <= self._most:
            return False
        with self._lock:
            say, self._said_full = not self._said_full, True
        if say:
            text = f"commands, files and notes are not recorded any more: events.jsonl has over {self._most} bytes"
            self._journal.emit(Failed(where="agent API", message=text))
        return True

    def full_of_calls(self) -> bool:
        """Whether not even what must be recorded has room any more."""
        return self._size() > CALLS_BYTES_FACTOR * self._most

    def fault(self, where: str, exc: DojoError) -> None:
        """Record an error the first time, and then each time that it has come twice as often as when it was last recorded."""
        with self._lock:
            kind = (where, exc.code)
            if kind not in self._seen and len(self._seen) >= _KINDS:
                kind = (where, "")
            self._seen[kind] += 1
            times = self._seen[kind]
        if times & (times - 1):  # no power of two
            return
        message = exc.message[:_MESSAGE] + (f" (such errors so far: {times})" if times > 1 else "")
        self._journal.emit(Failed(where=where, message=message, code=exc.code[:_HINT], hint=exc.hint[:_HINT]))

    def _size(self) -> int:
        path = self._journal.run.events_path
        return path.stat().st_size if path.exists() else 0
