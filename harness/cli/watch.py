"""Asking again until something is over, and passing on only what is new."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

# Fast enough for a person to watch, slow enough that reading a batch of a hundred run folders stays cheap.
PERIOD_S = 1.0
# A line at least this often where nothing changes, so that nobody takes a quiet program for a dead one.
QUIET_S = 60.0


def watched(
    look: Callable[[], Any],
    finished: Callable[[Any], bool],
    *,
    stop: threading.Event | None = None,
    period_s: float = PERIOD_S,
    quiet_s: float = QUIET_S,
) -> Iterator[Any]:
    """Yield what ``look`` returns: at once, whenever more than clocks changed, each ``quiet_s``, and when it is finished."""
    stop = stop or threading.Event()
    last: Any = None
    quiet = 0.0
    while True:
        value = look()
        over = finished(value)
        if over or last is None or quiet >= quiet_s or _without_clocks(value) != _without_clocks(last):
            yield value
            last, quiet = value, 0.0
        if over or stop.wait(period_s):
            return
        quiet += period_s


def _without_clocks(value: Any) -> Any:
    """Leave out what always changes: elapsed time and what is spent of it."""
    if isinstance(value, dict):
        return {k: _without_clocks(v) for k, v in value.items() if k not in ("elapsed_s", "budget")}
    return [_without_clocks(v) for v in value] if isinstance(value, list) else value
