"""Runs of a batch as Jobs of a cluster: made once whoever submits, followed by one watch, begun anew where a runner dies."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness.executor.base import Outcomes, Work
from harness.executor.kubernetes.ends import end_of, finished
from harness.executor.kubernetes.job import BATCH_LABEL, GRACE_S, RUN_LABEL, job, number_of
from harness.executor.kubernetes.jobs import Jobs
from harness.executor.kubernetes.owners import hand_over, hand_over_cache
from harness.executor.kubernetes.settings import RunnerSettings
from harness.executor.kubernetes.waiting import Waiting
from harness.executor.kubernetes.watch import Changed, JobWatch
from harness.executor.listening import Listening
from harness.executor.runners import await_leases, end_undriven
from harness.sandbox.kubernetes import NAME, cluster, queues
from harness.sandbox.kubernetes.settings import Settings
from harness.spec.accounts import OWNER
from harness.spec.errors import DojoError, MissingError, StoreError
from harness.spec.outcome import RunState
from harness.spec.task import Limits
from harness.store.artefacts.place import SETTING as ARTEFACTS
from harness.store.base import RunFilter, RunInfo

PROGRAM = ("dojo", "run", "--json", "--take-over")
_WAKE_S = 0.5
# so many Jobs are asked for at a time
_ASKING = 8
# after a Job has gone the one who removed it may still be ending its run
_GONE_S = 15.0
_STOPPING_S = 20.0


class KubernetesExecutor:
    """Drives runs by Jobs, each of which executes ``dojo run RUN`` in a pod.

    Args:
        work: what it works with; its runner only ends runs that are cancelled while nobody drives them.
        program: what Jobs execute, followed by the run's id.
    """

    name = "kubernetes"
    elsewhere = True
    sandbox = NAME

    def __init__(self, work: Work, program: Sequence[str] = PROGRAM) -> None:
        self._work, self._program = work, program
        self._store, self._artefacts = work.runner.store, work.runner.artefacts
        self._runners, self._sandboxes = RunnerSettings.from_environment(), Settings.from_environment()
        self._made: Jobs | None = None
        self._changes: queue.SimpleQueue[Changed] = queue.SimpleQueue()
        self._watches: list[JobWatch] = []
        self._waiting: deque[str] = deque()
        self._going: dict[str, str] = {}
        self._batches: dict[str, str] = {}
        self._owned: dict[str, Settings | DojoError] = {}
        self._deaths: dict[str, int] = {}
        self._gone: dict[str, float] = {}
        self._outcomes: dict[str, RunState | DojoError] = {}
        self._why = Waiting(self._runners, self._sandboxes)
        self._listening = Listening(self._store, work.listener)

    def check(self, limits: Limits) -> None:
        """Refuse limits that no node of the cluster has room for."""
        self._jobs.check(limits, self._sandboxes)

    def start(self, batch: str) -> None:
        """Make a Job for every run of the batch that has not ended and has none; those that have one are followed."""
        self._refuse_a_private_store()
        hand_over_cache(self._work.runner.library.cache, self._runners.runs_as())
        known = self._jobs.of_batch(batch)
        begin: list[tuple[str, int]] = []
        runs = self._store.runs(RunFilter(batch=batch))
        driven = self._store.holders([info.id for info in runs if not info.state.final])
        for info in runs:
            if info.state.final:
                continue
            self._batches[info.id] = batch
            self._listening.begin(info.id)
            made = known.get(info.id)
            if made is not None and not finished(made):
                self._going[info.id] = made["metadata"]["name"]
            elif owner := driven.get(info.id):
                text = f"run {info.id} is driven by {owner}"
                self._outcomes[info.id] = StoreError(text, hint="`dojo status` shows where it stands", code="busy")
            elif self._work.parallel is not None and len(self._going) + len(begin) >= self._work.parallel:
                self._waiting.append(info.id)
            else:
                begin.append((info.id, number_of(made["metadata"]["name"]) + 1 if made else 1))
        with ThreadPoolExecutor(_ASKING, thread_name_prefix="dojo-start") as pool:
            list(pool.map(lambda one: self._begin(*one), begin))
        watch = JobWatch(self._jobs.api, self._runners.namespace, f"{BATCH_LABEL}={batch}", self._changes, self._jobs.listed)
        watch.start()
        self._watches.append(watch)

    def cancel(self, run: str) -> None:
        """End a run: its runner sees the request; a run that nobody drives is ended here, and its Job removed.

        A sandbox that still waits for a place is removed too, as its runner does nothing but wait with it.
        """
        self._store.request_cancel(run)
        if self._store.holder(run) is not None:
            self._why.give_up_places(run)
            return
        for made in self._jobs.of_run(run):
            self._jobs.remove(made["metadata"]["name"])
        end_undriven(self._work, run)

    def why(self, run: RunInfo) -> str:
        """Say why a run's Job, or a sandbox of its, waits, in the words of Kueue, the scheduler, or the node."""
        try:
            said = self._why.said_of(run.batch, run.id)
        except DojoError as exc:
            return f"the cluster does not say: {exc.message}"
        if not said:
            try:
                self._sandboxes_of(run.batch)
            except DojoError as exc:  # its owner's queue has gone since it was submitted
                return exc.message
        return said

    def wait(self, stop: threading.Event) -> Outcomes:
        """Follow all Jobs to their runs' ends; on ``stop`` the runners are told to leave their runs resumable."""
        try:
            while (self._going or self._waiting) and not stop.is_set():
                self._take_in(stop)
                self._listening.tell(self._going)
            if stop.is_set():
                self._stop_all()
            self._listening.tell(self._outcomes, last=True)
        finally:
            for watch in self._watches:
                watch.stop()
        return dict(self._outcomes)

    @property
    def _jobs(self) -> Jobs:
        if self._made is None:
            self._made = Jobs(self._runners)
        return self._made

    def _refuse_a_private_store(self) -> None:
        """Refuse what a pod elsewhere could not share.

        Raises:
            StoreError: the index is a file, or runs are to be put into a folder of this machine.
        """
        if self._artefacts.startswith("file:"):
            raise StoreError(
                f"runners in pods do not have the folder {ARTEFACTS}={self._artefacts}",
                hint="name an object store, as s3://bucket/prefix",
                code="not_shared",
            )
        if getattr(self._store, "shared", True):
            return
        raise StoreError(
            "the executor kubernetes needs a PostgreSQL database: runners in pods share it with who submits",
            hint="set DOJO_DATABASE to it here, and put its address as pods reach it into the Secret "
            f"{self._runners.database} (key url) of the namespace {self._runners.namespace}",
            code="not_shared",
        )

    def _begin(self, run: str, number: int, after: str = "") -> None:
        """Make a run's Job. What keeps one from being made is that run's outcome and stops no other."""
        try:
            files = self._store.run_dir(self._batches[run], run)
            hand_over(files.path, files.path.parents[3], self._runners.runs_as())
            sandboxes = self._sandboxes_of(self._batches[run])
            body = job(files.spec(), number, self._runners, sandboxes, self._program, after, self._artefacts)
            self._jobs.make(body)
            self._going[run] = body["metadata"]["name"]
        except DojoError as exc:
            self._outcomes[run] = exc

    def _sandboxes_of(self, batch: str) -> Settings:
        """Return the settings of a batch's sandboxes, which name its owner's queue.

        Raises:
            MissingError: that is not there.
        """
        if batch not in self._owned:
            found = next(iter(self._store.batches(RunFilter(batch=batch))), None)
            try:
                self._owned[batch] = queues.named(self._sandboxes, str(found.settings.get(OWNER, "")) if found else "")
            except MissingError as exc:
                self._owned[batch] = exc  # not looked for again for each of the batch's runs
        settings = self._owned[batch]
        if isinstance(settings, DojoError):
            raise settings
        return settings

    def _take_in(self, stop: threading.Event) -> None:
        """Take one change in, if one comes soon, and look at those whose Job has gone."""
        try:
            kind, seen = self._changes.get(timeout=_WAKE_S)
        except queue.Empty:
            pass
        else:
            run, name = seen["metadata"]["labels"].get(RUN_LABEL, ""), seen["metadata"]["name"]
            if self._going.get(run) == name:
                if kind == "DELETED":
                    self._gone.setdefault(run, time.monotonic() + _GONE_S)
                elif finished(seen):
                    self._look(run, seen)
        for run, until in list(self._gone.items()):
            state = self._store.run(run).state
            if state.final:
                self._end(run, state)
            elif time.monotonic() > until:
                text = f"the Job {self._going[run]} was removed by somebody; its run can be resumed"
                self._end(run, StoreError(text, hint="`dojo status` shows where it stands", code="lost"))
        while self._waiting and not stop.is_set() and len(self._going) < (self._work.parallel or len(self._waiting)):
            run = self._waiting.popleft()
            self._begin(run, self._jobs.next_name(run)[1])

    def _look(self, run: str, seen: dict[str, Any]) -> None:
        """Take in that a Job is over: its run is too, or its runner said why not, or died and is begun anew."""
        state = self._store.run(run).state
        if state.final:
            self._end(run, state)
            return
        end = end_of(seen, self._jobs.pods_of(seen["metadata"]["name"]))
        if end.error is not None:
            self._end(run, end.error)
            return
        died = self._deaths[run] = self._deaths.get(run, 0) + 1
        logging.getLogger(__name__).warning("run %s: %s", run, end.death.text)
        if died < self._runners.starts:
            self._begin(run, number_of(seen["metadata"]["name"]) + 1, end.death.text)
            if run in self._outcomes:
                self._going.pop(run, None)
            return
        text = f"the runner of {run} died {died} times, at last so: {end.death.text}"
        self._end(run, StoreError(text, hint="mend that, then `dojo resume`: the run can go on", code="runner_lost"))

    def _end(self, run: str, outcome: RunState | DojoError) -> None:
        self._outcomes[run] = outcome
        self._going.pop(run, None)
        self._gone.pop(run, None)

    def _stop_all(self) -> None:
        """Ask every runner to stop, and wait until they have, or a little longer than they may take."""
        self._waiting.clear()
        names, stopped = {name: run for run, name in self._going.items()}, list[str]()
        for name in names:
            self._jobs.remove(name, patience_s=_STOPPING_S)
        end = time.monotonic() + GRACE_S + _STOPPING_S
        while names and time.monotonic() < end:
            try:
                kind, seen = self._changes.get(timeout=_WAKE_S)
            except queue.Empty:
                continue
            if kind == "DELETED" and (run := names.pop(seen["metadata"]["name"], None)) is not None:
                self._end(run, self._store.run(run).state)
                stopped.append(run)
        for run in names.values():
            self._end(run, cluster_is_slow(run))
        await_leases(self._store, stopped)


def cluster_is_slow(run: str) -> StoreError:
    """Return the error for a runner that did not stop in time; it will, or its node will be found to be lost."""
    return StoreError(
        f"the runner of {run} has not stopped within {GRACE_S + _STOPPING_S:g} s; its Job goes when it has",
        hint=f"kubectl get jobs -l {RUN_LABEL}={run}; patience with the API is {cluster.PATIENCE_S:g} s",
        code="busy",
    )
