"""The executor seam: who drives the runs of a batch, and where. `local` does it in threads of this process.

An executor is found by name, like a sandbox backend: `harness.executor.registry`, entry points in the group ``dojo.executors``.
It starts nothing but runs that are recorded in the store, and everything it knows of them is in the store too: another process
finds the same by the same ids. `harness.executor.contract` holds what every executor promises.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from harness.session.run import Runner
from harness.spec.errors import DojoError
from harness.spec.outcome import RunState
from harness.spec.task import Limits
from harness.store.base import RunInfo
from harness.store.run_dir import EventListener

Outcomes = Mapping[str, RunState | DojoError]
"""Run → the state it was left in, or the error that kept it from going on (code ``busy``: another process drives it)."""


@dataclass(frozen=True)
class Work:
    """What an executor works with.

    Attributes:
        runner: drives one run.
        parallel: at most this many runs at once; None: what fits.
        listener: called with every event of the runs, from any thread.
    """

    runner: Runner
    parallel: int | None = None
    listener: EventListener | None = field(default=None, compare=False)


class Executor(Protocol):
    """Drives runs of batches."""

    name: str

    def check(self, limits: Limits) -> None:
        """Refuse limits that it can never satisfy; asked before anything is prepared.

        Raises:
            MissingError: names what is asked for and what there is.
        """
        ...

    def start(self, batch: str) -> None:
        """Begin to drive every run of the batch that has not ended; returns at once. A run that has ended is left alone."""
        ...

    def cancel(self, run: str) -> None:
        """End a run for good, whoever drives it; returns when it was asked for, or at once where nobody drives it."""
        ...

    def why(self, run: RunInfo) -> str:
        """Say why a run has not started yet, in the words of what it waits for; "" where nothing is known."""
        ...

    def wait(self, stop: threading.Event) -> Outcomes:
        """Wait until all that was started has ended, or ``stop`` is set and what runs is left resumable."""
        ...
