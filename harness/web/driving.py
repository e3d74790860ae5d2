"""What a replica does beside answering: it drives the batches that users submitted and that nobody drives.

Two replicas over one store see the same batches. Each starts what it can; the lease of a run decides whose it is, and a run that
the other one drives is left alone. When a replica dies, its leases run out and the other goes on with its runs.
"""

from __future__ import annotations

import threading

from harness.executor.base import Work
from harness.executor.registry import get_executor
from harness.serving.log import log
from harness.spec.accounts import OWNER
from harness.spec.errors import DojoError
from harness.spec.outcome import RunState
from harness.store.base import RunFilter
from harness.web.site import Site

# How often the store is looked at for what another replica took in or left; one's own submits wake it at once.
_LOOK_S = 2.0
# Batches driven at once by one replica: each is a thread that waits for its executor.
_BATCHES = 64
_OPEN = frozenset(state for state in RunState if not state.final)


class Driver:
    """Drives batches in threads until the replica drains.

    Args:
        site: the replica.
        parallel: at most so many runs of one batch at once; None: what fits.
    """

    def __init__(self, site: Site, parallel: int | None = None) -> None:
        self._site, self._parallel = site, parallel
        self._going: dict[str, threading.Thread] = {}
        self._thread = threading.Thread(target=self._look_for_ever, name="driver", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def wait(self) -> None:
        """Wait, once the replica drains, until nothing is driven here; what ran is left resumable."""
        self._site.wake.set()
        self._thread.join()
        for thread in list(self._going.values()):
            thread.join()

    def _look_for_ever(self) -> None:
        while not self._site.draining.is_set():
            try:
                self._look()
            except DojoError as exc:  # the database is away: it is asked again
                log({"event": "driving", "code": exc.code, "message": self._site.cleaner.text(exc.message)})
            self._site.wake.wait(_LOOK_S)
            self._site.wake.clear()

    def _look(self) -> None:
        store = self._site.dojo.store
        self._going = {batch: thread for batch, thread in self._going.items() if thread.is_alive()}
        self._site.measures.batches.set(len(self._going))
        for batch in store.batches(RunFilter(states=_OPEN)):
            if len(self._going) >= _BATCHES or self._site.draining.is_set():
                return
            if batch.id in self._going or OWNER not in batch.settings:
                continue
            open_runs = [run.id for run in store.runs(RunFilter(batch=batch.id, states=_OPEN))]
            if len(store.holders(open_runs)) < len(open_runs):
                name = str(batch.settings.get("executor", "local"))
                thread = threading.Thread(target=self._drive, args=(batch.id, name), name=f"batch {batch.id}", daemon=True)
                self._going[batch.id] = thread
                thread.start()

    def _drive(self, batch: str, executor: str) -> None:
        try:
            drives = get_executor(executor, Work(self._site.dojo.runner(), self._parallel))
            drives.start(batch)
            outcomes = drives.wait(self._site.draining)
        except Exception as exc:  # one batch must not take the replica down; it is tried again
            self._site.measures.lost.inc()
            log({"event": "driving", "batch": batch, "code": "broke", "message": self._site.cleaner.text(str(exc))})
            self._site.draining.wait(_LOOK_S)
            return
        for run, found in outcomes.items():
            if isinstance(found, DojoError) and found.code not in ("busy", "lost"):
                self._site.measures.lost.inc()
                log({"event": "driving", "run": run, "code": found.code, "message": self._site.cleaner.text(found.message)})
