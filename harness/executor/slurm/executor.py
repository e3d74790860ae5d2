"""Runs of a batch as jobs of Slurm: one at a time for each run whoever submits, followed by one look at the queue for all."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.executor.base import Outcomes, Work
from harness.executor.listening import Listening
from harness.executor.runners import End, await_leases, end_undriven
from harness.executor.slurm.ends import end_of, forgotten
from harness.executor.slurm.job import log_of
from harness.executor.slurm.jobs import Jobs, Queued, by_run
from harness.executor.slurm.settings import SlurmSettings
from harness.session.lifecycle import AFTER
from harness.spec.errors import DojoError, StoreError
from harness.spec.outcome import RunState
from harness.spec.task import Limits
from harness.store.base import RunFilter, RunInfo

_COMMAND = ("run", "--json", "--take-over")
# so many jobs are submitted at a time
_ASKING = 8
# one look at the queue serves all runs that are asked for within so many seconds
_FRESH_S = 2.0
# after a job was cancelled the one who did it may still be ending its run
_GONE_S = 15.0
# a runner may take so long to leave its run resumable; it is told again meanwhile, as it may have been about to begin
_STOPPING_S, _TELL_AGAIN_S = 80.0, 10.0
_LOOK_S = 0.5
_TAIL = 8192


class SlurmExecutor:
    """Drives runs by jobs of Slurm, each of which executes ``dojo run RUN`` on a node.

    Args:
        work: what it works with; its runner only ends runs that are cancelled while nobody drives them.
        program: what jobs execute, followed by the run's id; default: dojo, as the settings say.
    """

    name = "slurm"
    elsewhere = True

    def __init__(self, work: Work, program: Sequence[str] | None = None) -> None:
        self._work, self._store = work, work.runner.store
        self._settings = SlurmSettings.from_environment()
        self._program = tuple(program or (*self._settings.dojo(), *_COMMAND))
        self._jobs = Jobs(self._settings)
        self._waiting: deque[str] = deque()
        self._going: dict[str, str] = {}
        self._deaths: dict[str, int] = {}
        self._gone: dict[str, tuple[float, DojoError]] = {}
        self._outcomes: dict[str, RunState | DojoError] = {}
        self._listening = Listening(self._store, work.listener)
        self._seen: tuple[float, dict[str, Queued] | DojoError] | None = None
        self._lock = threading.Lock()

    def check(self, limits: Limits) -> None:
        """Refuse limits that no node has room for."""
        self._jobs.check(limits)

    def start(self, batch: str) -> None:
        """Submit a job for every run of the batch that has not ended and has none; those that have one are followed."""
        self._refuse_a_private_store()
        self._settings.prologue_lines()
        there = by_run(self._jobs.listed())
        begin: list[str] = []
        for info in self._store.runs(RunFilter(batch=batch)):
            if info.state.final:
                continue
            self._listening.begin(info.id)
            if (job := there.get(info.id)) is not None:
                self._going[info.id] = job.id
            elif owner := self._store.holder(info.id):
                text = f"run {info.id} is driven by {owner}"
                self._outcomes[info.id] = StoreError(text, hint="`dojo status` shows where it stands", code="busy")
            elif self._work.parallel is not None and len(self._going) + len(begin) >= self._work.parallel:
                self._waiting.append(info.id)
            else:
                begin.append(info.id)
        with ThreadPoolExecutor(_ASKING, thread_name_prefix="dojo-start") as pool:
            list(pool.map(self._begin, begin))

    def cancel(self, run: str) -> None:
        """End a run: its runner sees the request; a run that nobody drives is ended here, and its job cancelled."""
        self._store.request_cancel(run)
        if self._store.holder(run) is not None:
            return
        self._jobs.cancel(run)
        end_undriven(self._work, run)

    def why(self, run: RunInfo) -> str:
        """Say why a run's job waits, in Slurm's words; "" where it does not, or has none."""
        try:
            job = self._lately().get(run.id)
        except DojoError as exc:
            return f"Slurm does not say: {exc.message}"
        if job is None or not job.waits:
            return ""
        if job.state != "PENDING":
            return f"the job {job.id} is {job.state}"
        expected = f"; Slurm expects it to start at {job.starts}" if job.starts else ""
        return f"the job {job.id} waits: {job.reason}{expected}"

    def wait(self, stop: threading.Event) -> Outcomes:
        """Follow all jobs to their runs' ends; on ``stop`` the runners are told to leave their runs resumable."""
        look = 0.0
        while (self._going or self._waiting) and not stop.is_set():
            if time.monotonic() >= look:
                self._take_in()
                self._begin_waiting(stop)
                look = time.monotonic() + self._settings.poll
            self._listening.tell(self._going)
            stop.wait(min(_LOOK_S, self._settings.poll))
        if stop.is_set():
            self._stop_all()
        self._listening.tell(self._outcomes, last=True)
        return dict(self._outcomes)

    def _refuse_a_private_store(self) -> None:
        """Refuse what a node elsewhere could not share.

        Raises:
            StoreError: the index is a file, and jobs may be on other hosts than this one.
        """
        if getattr(self._store, "shared", True) or self._jobs.only_here():
            return
        raise StoreError(
            "the executor slurm needs a PostgreSQL database: runners on nodes share it with who submits",
            hint="set DOJO_DATABASE to one that this machine and the nodes reach (docs/operate-on-slurm.md)",
            code="not_shared",
        )

    def _begin(self, run: str, after: str = "") -> None:
        """Submit a run's job. What keeps one from being submitted is that run's outcome and stops no other."""
        try:
            files = self._store.files(run)
            folder = Path(os.path.abspath(files.path))
            log_of(folder, run, "").parent.mkdir(exist_ok=True)
            variables = {
                "DOJO_HOME": str(folder.parents[3]),
                "DOJO_CACHE": os.path.abspath(self._work.runner.library.cache),
                AFTER: after,
            }
            self._going[run] = self._jobs.submit(files.spec(), folder, self._program, variables)
        except DojoError as exc:
            self._end(run, exc)
        except OSError as exc:
            self._end(run, StoreError(f"{exc.filename} cannot be written: {exc.strerror}", hint="mend that, then `dojo resume`"))

    def _begin_waiting(self, stop: threading.Event) -> None:
        while self._waiting and not stop.is_set() and len(self._going) < (self._work.parallel or len(self._waiting)):
            self._begin(self._waiting.popleft())

    def _take_in(self) -> None:
        """Look at the queue once, and at each run whose job has left it."""
        try:
            there = self._jobs.listed()
        except StoreError as exc:  # a controller that is restarted, say: jobs go on without it
            logging.getLogger(__name__).warning("the queue is looked at again: %s", exc.message)
            return
        live = {job.id for job in there}
        for run, id in list(self._going.items()):
            if id not in live:
                self._look(run, id)

    def _look(self, run: str, id: str) -> None:
        """Take in that a job is over: its run is too, or its runner said why not, or died and is begun anew."""
        state = self._store.run(run).state
        if state.final:
            self._end(run, state)
            return
        if run in self._gone:
            until, error = self._gone[run]
            if time.monotonic() > until:
                self._end(run, error)
            return
        try:
            job = self._jobs.ended(id)
        except StoreError:
            return
        if job is None or job.over:
            self._take_up(run, end_of(job, *self._said(run, id)) if job else forgotten(id))

    def _take_up(self, run: str, end: End) -> None:
        """Let a run whose job ended without it go on, where it may."""
        if end.error is not None and self._store.cancel_requested(run):
            self._gone[run] = time.monotonic() + _GONE_S, end.error
            return
        if end.error is not None:
            self._end(run, end.error)
            return
        died = self._deaths[run] = self._deaths.get(run, 0) + 1
        logging.getLogger(__name__).warning("run %s: %s", run, end.death.text)
        if died < self._settings.starts:
            self._begin(run, end.death.text)
            return
        text = f"the runner of {run} died {died} times, at last so: {end.death.text}"
        self._end(run, StoreError(text, hint="mend that, then `dojo resume`: the run can go on", code="runner_lost"))

    def _stop_all(self) -> None:
        """Tell every runner to stop, and wait until they have, or a little longer than they may take."""
        self._waiting.clear()
        stopped = list[str]()
        end, tell = time.monotonic() + _STOPPING_S, 0.0
        while self._going and time.monotonic() < end:
            try:
                if time.monotonic() >= tell:
                    self._jobs.stop(self._going.values())
                    tell = time.monotonic() + _TELL_AGAIN_S
                live = {job.id for job in self._jobs.listed()}
            except StoreError:
                live = set(self._going.values())
            for run, id in list(self._going.items()):
                if id not in live:
                    self._end(run, self._store.run(run).state)
                    stopped.append(run)
            time.sleep(min(_LOOK_S, self._settings.poll))
        for run, id in list(self._going.items()):
            text = f"the job {id} of {run} has not stopped within {_STOPPING_S:g} s"
            self._end(run, StoreError(text, hint=f"it is told to; `scontrol show job {id}` shows it", code="busy"))
        await_leases(self._store, stopped)

    def _end(self, run: str, outcome: RunState | DojoError) -> None:
        self._outcomes[run] = outcome
        self._going.pop(run, None)
        self._gone.pop(run, None)

    def _lately(self) -> dict[str, Queued]:
        """Return the queue as it was a moment ago, so that a batch's runs are one question."""
        with self._lock:
            if self._seen is None or time.monotonic() > self._seen[0]:
                try:
                    found: dict[str, Queued] | DojoError = by_run(self._jobs.listed())
                except DojoError as exc:
                    found = exc  # each of the batch's runs would wait for it anew
                self._seen = time.monotonic() + _FRESH_S, found
            queue = self._seen[1]
        if isinstance(queue, DojoError):
            raise queue
        return queue

    def _said(self, run: str, id: str) -> tuple[str, str]:
        """Return the last of what a job wrote, and where all of it is."""
        path = log_of(self._store.files(run).path, run, id)
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _TAIL))
                return file.read().decode(errors="replace"), str(path)
        except OSError:  # the job ended before it could write anything
            return "", str(path)
