"""Runs of a batch on this machine: as many at once as fit, in order of submission, each left resumable on stop."""

from __future__ import annotations

import threading
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

from harness.executor.base import Outcomes, Work
from harness.executor.slots import Slots
from harness.sandbox.base import is_elsewhere
from harness.spec.errors import DojoError, StoreError
from harness.spec.event import ClockStarted, Event
from harness.spec.outcome import RunState
from harness.spec.run import RunSpec
from harness.spec.task import Limits
from harness.store.base import RunFilter, RunInfo

_WAKE_S = 0.3


class LocalExecutor:
    """Drives runs in threads of this process; the work itself happens in the runs' sandboxes.

    Args:
        work: what it works with.
        slots: cores, memory and GPUs of the machine; default: this one's, shared with every other dojo process on it.
    """

    name = "local"

    def __init__(self, work: Work, slots: Slots | None = None) -> None:
        self._work = work
        self._store = work.runner.store
        self._slots = slots or Slots.of_this_machine()
        self._pool: ThreadPoolExecutor | None = None
        self._stop = threading.Event()
        self._going: dict[Future[RunState | None], str] = {}

    def check(self, limits: Limits) -> None:
        """Refuse limits that this machine can never satisfy."""
        self._slots.check(limits)

    def start(self, batch: str) -> None:
        """Queue every run of the batch that has not ended."""
        waiting = [run.id for run in self._store.runs(RunFilter(batch=batch)) if not run.state.final]
        if self._pool is None:
            workers = min(max(1, len(waiting)), self._work.parallel or max(1, int(self._slots.cpus)))
            self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="run")
        for run in waiting:
            self._going[self._pool.submit(self._drive, run)] = run

    def cancel(self, run: str) -> None:
        """End a run: whoever drives it sees the request; a run that nobody drives is ended here."""
        self._store.request_cancel(run)
        if self._store.holder(run) is not None:
            return
        try:
            self._work.runner.drive(run, self._stop, self._work.listener)
        except DojoError as exc:
            if exc.code != "busy":
                raise
            return  # somebody took it up between the two: the request is theirs to see, and what they claimed is theirs
        self._slots.forget(run)

    def why(self, run: RunInfo) -> str:
        """Say what of this machine a run waits for; nothing where its sandboxes are elsewhere."""
        spec = self._store.run_dir(run.batch, run.id).spec()
        return "" if self._elsewhere(spec) else self._slots.missing(run.id, spec.limits)

    def wait(self, stop: threading.Event) -> Outcomes:
        """Wait for the end of everything, or for ``stop``."""
        outcomes: dict[str, RunState | DojoError] = {}
        left = set(self._going)
        while left:
            # never for ever: a signal that the kernel hands to another thread is seen only when this one wakes
            done, left = futures.wait(left, timeout=_WAKE_S, return_when=futures.FIRST_COMPLETED)
            if stop.is_set():
                self._stop.set()
            for future in done:
                run = self._going.pop(future)
                try:
                    state = future.result()
                except DojoError as exc:
                    outcomes[run] = exc
                    continue
                if state is not None:
                    outcomes[run] = state
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        return outcomes

    def _drive(self, run: str) -> RunState | None:
        """Wait for room and drive; None when stopped while waiting."""
        if owner := self._store.holder(run):
            raise StoreError(f"run {run} is driven by {owner}", hint="`dojo status` shows where it stands", code="busy")
        spec = self._store.files(run).spec()
        if self._elsewhere(spec):
            return None if self._stop.is_set() else self._work.runner.drive(run, self._stop, self._work.listener)
        with self._slots.take(run, spec.limits, self._stop) as taken:
            if not taken:
                return None
            state = self._work.runner.drive(run, self._stop, lambda id, event: self._heard(spec, id, event))
        if state.final:
            self._slots.forget(run)
        return state

    def _elsewhere(self, spec: RunSpec) -> bool:
        try:
            return is_elsewhere(self._work.runner.backends(spec.sandbox))
        except DojoError:  # said when it is driven
            return False

    def _heard(self, spec: RunSpec, run: str, event: Event) -> None:
        if isinstance(event.data, ClockStarted):
            # the agent works on in its sandbox until then, even without this process: nobody else may count on its room
            self._slots.keep_until(run, event.time + timedelta(seconds=spec.budget.wall))
        if self._work.listener:
            self._work.listener(run, event)
