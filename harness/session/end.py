"""The end of an agent's time, as its phase tells it and the calls that are being answered then ask for it."""

from __future__ import annotations

import threading

# How long a call waits to be told: killing takes moments, and a sandbox that is silent is given up after a minute.
_TOLD_WITHIN_S = 180.0


class AgentEnd:
    """Whether the agent's time is over, and whether nothing of it runs any more. Told once, by the phase."""

    def __init__(self) -> None:
        self._told = threading.Event()
        self._dead = False

    @property
    def over(self) -> bool:
        """Whether it was told."""
        return self._told.is_set()

    def tell(self, *, dead: bool) -> None:
        """Say that it is over; ``dead``: everything of the agent was killed, and nothing of it can start."""
        if not self._told.is_set():
            self._dead = dead
            self._told.set()

    def await_death(self) -> bool:
        """Wait until it is told; return whether nothing of the agent runs."""
        return self._told.wait(_TOLD_WITHIN_S) and self._dead
