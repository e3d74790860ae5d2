"""Runs of a batch on this machine: as many at once as fit, in order of submission, each left resumable on stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor

from harness.executor.slots import Slots
from harness.spec.errors import DojoError
from harness.spec.outcome import RunState
from harness.spec.run import RunSpec

_WAKE_S = 0.3

Drive = Callable[[RunSpec], RunState]


class LocalExecutor:
    """Drives runs in threads of this process; the work itself happens in the runs' sandboxes.

    Args:
        slots: cores and GPUs of the machine.
        parallel: at most this many at once; None: what fits.
    """

    name = "local"

    def __init__(self, slots: Slots, parallel: int | None = None) -> None:
        self._slots = slots
        self._parallel = parallel

    def execute(self, specs: Sequence[RunSpec], drive: Drive, stop: threading.Event) -> dict[str, RunState | DojoError]:
        """Drive every run to its end, or until ``stop``; return each run's state, or the error that kept it from going on."""
        results: dict[str, RunState | DojoError] = {}

        def one(spec: RunSpec) -> None:
            with self._slots.take(spec.limits, stop) as taken:
                if not taken:
                    return
                try:
                    results[spec.id] = drive(spec)
                except DojoError as exc:
                    results[spec.id] = exc

        workers = min(len(specs), self._parallel or max(1, int(self._slots.cpus)))
        with ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="run") as pool:
            left = {pool.submit(one, spec) for spec in specs}
            while left:
                # never for ever: a signal that the kernel hands to another thread is seen only when this one wakes
                done, left = futures.wait(left, timeout=_WAKE_S, return_when=futures.FIRST_COMPLETED)
                for future in done:
                    future.result()
        return results
