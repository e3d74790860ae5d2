"""An executor written against the protocols alone: one thread that drives one run after another."""

import threading

from harness.executor.base import Outcomes, Work
from harness.spec.errors import DojoError, MissingError
from harness.spec.outcome import RunState
from harness.spec.task import Limits
from harness.store.base import RunFilter, RunInfo


class OneByOne:
    name = "one-by-one"

    def __init__(self, work: Work) -> None:
        self._work, self._store = work, work.runner.store
        self._stop, self._threads = threading.Event(), []
        self._outcomes: dict[str, RunState | DojoError] = {}

    def check(self, limits: Limits) -> None:
        if limits.cpus > 64:
            raise MissingError(f"{limits.cpus:g} CPUs are asked for, here are 64", hint="ask for less")

    def start(self, batch: str) -> None:
        runs = [run.id for run in self._store.runs(RunFilter(batch=batch)) if not run.state.final]
        self._threads.append(threading.Thread(target=self._drive, args=(runs,)))
        self._threads[-1].start()

    def cancel(self, run: str) -> None:
        self._store.request_cancel(run)
        if self._store.holder(run) is None:
            self._work.runner.drive(run)

    def why(self, run: RunInfo) -> str:
        return "" if run.state.final else "waits for its turn"

    def wait(self, stop: threading.Event) -> Outcomes:
        while any(thread.is_alive() for thread in self._threads):
            if stop.wait(0.05):
                self._stop.set()
        return self._outcomes

    def _drive(self, runs: list[str]) -> None:
        for run in runs:
            if self._stop.is_set():
                return
            try:
                self._outcomes[run] = self._work.runner.drive(run, self._stop, self._work.listener)
            except DojoError as exc:
                self._outcomes[run] = exc
