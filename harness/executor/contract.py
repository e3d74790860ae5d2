"""The conformance suite of executors: what every executor promises, as functions that anyone can run.

With pytest, in a package of your own:

    from harness.executor.contract import PROMISES, Stage

    @pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
    def test_my_executor_keeps_its_promise(promise, tmp_path):
        promise(Stage(MyExecutor, my_store))

The store holds no run yet. The runs of the stage are recorded in it but never reach a sandbox: their runner is played, so that it
can be said when a run ends, and how. An executor whose runs are driven in other processes lets these execute
``python -m harness.executor.contract RUN`` in place of ``dojo run RUN``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from harness.executor.base import Executor, Work
from harness.session.assets import Library
from harness.session.journal import Journal
from harness.session.run import Runner
from harness.spec.agent import AgentConfig
from harness.spec.budget import Budget
from harness.spec.errors import DojoError, MissingError, StoreError
from harness.spec.event import Ended
from harness.spec.outcome import Cause, Outcome, RunState
from harness.spec.run import AgentRef, BaseModelRef, RunSpec, TaskRef
from harness.spec.task import Generation, Limits
from harness.store.base import Store
from harness.store.ids import new_id
from harness.store.opening import open_store
from harness.store.run_dir import EventListener, RunDir

# far above what a loaded machine needs, also where a pod is started first
_SOON_S = 120.0
_PIECE_S = 0.05

Factory = Callable[[Work], Executor]


class PromiseBroken(AssertionError):
    """An executor does not keep a promise; says which and what was seen."""


class Gate:
    """Something that one process says and another waits for: a file in a run's folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def set(self) -> None:
        """Say it."""
        self._path.touch()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is said; whether it was."""
        end = time.monotonic() + timeout_s
        while not self._path.exists():
            if time.monotonic() > end:
                return False
            time.sleep(_PIECE_S / 5)
        return True


class PlayedRunner(Runner):
    """A runner whose runs end when they are told to, in whatever process they are driven.

    All that it says and is told lies in the runs' folders: a run ends when its gate is opened, and as `end_with` says.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store, Library(Path("/nowhere"), Path("/nowhere")))

    def gate(self, run: str) -> Gate:
        """Return what lets a run end."""
        return Gate(self.store.files(run).path / "gate")

    def started(self, run: str) -> Gate:
        """Return what is said when a run is begun to be driven."""
        return Gate(self.store.files(run).path / "started")

    def end_with(self, run: str, end: DojoError) -> None:
        """Let driving a run fail with a StoreError when its gate is open."""
        (self.store.files(run).path / "end.json").write_text(json.dumps(end.as_dict()), encoding="utf-8")

    def driven(self) -> list[str]:
        """Return which runs were driven, by any process, each as often as it was."""
        return [run for _, _, run in self._played()]

    def most_at_once(self) -> int:
        """Return how many runs were driven at the same time."""
        moments = sorted([(begun, 1) for begun, _, _ in self._played()] + [(ended, -1) for _, ended, _ in self._played()])
        most = now = 0
        for _, change in moments:
            now += change
            most = max(most, now)
        return most

    def drive(self, run: str, stop: threading.Event | None = None, listener: EventListener | None = None) -> RunState:
        """Hold the run until its gate opens, ``stop`` is set or it is cancelled; then end it as said."""
        with self.store.claim(run):
            folder = self.store.files(run)
            journal = Journal(folder, lambda state: self.store.record_state(run, state), listener)
            if journal.record.state.final:
                return journal.record.state
            begun = time.time()
            try:
                return self._play(run, journal, stop or threading.Event())
            finally:
                with (folder.path / "played.jsonl").open("a", encoding="utf-8") as out:
                    out.write(json.dumps([begun, time.time(), run]) + "\n")

    def _play(self, run: str, journal: Journal, stop: threading.Event) -> RunState:
        self.started(run).set()
        end = Outcome(cause=Cause.COMPLETED, phase="agent")
        while not self.gate(run).wait(_PIECE_S):
            if self.store.cancel_requested(run):
                end = Outcome(cause=Cause.CANCELLED, phase="agent", message="cancelled by the user")
                break
            if stop.is_set():
                return journal.record.state
        said = self.store.files(run).path / "end.json"
        if said.exists():
            error = json.loads(said.read_text(encoding="utf-8"))
            raise StoreError(error["message"], hint=error["hint"], code=error["code"])
        journal.emit(Ended(**end.model_dump()))
        journal.enter(RunState.CANCELLED if end.cause is Cause.CANCELLED else RunState.DONE)
        return journal.record.state

    def _played(self) -> list[tuple[float, float, str]]:
        found = []
        for info in self.store.runs():
            path = self.store.files(info.id).path / "played.jsonl"
            if path.exists():
                found += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return sorted((begun, ended, run) for begun, ended, run in found)


class Stage:
    """An executor over a store with recorded runs whose runner is played.

    Args:
        factory: makes the executor.
        store: an empty store.
        parallel: how many runs at once.
    """

    def __init__(self, factory: Factory, store: Store, parallel: int | None = None) -> None:
        self.store, self.runner = store, PlayedRunner(store)
        self.factory = factory
        self.executor = factory(Work(self.runner, parallel))
        self.stop = threading.Event()

    def batch(self, runs: int, limits: Limits | None = None, settings: dict[str, str] | None = None) -> tuple[str, list[str]]:
        """Record a batch; return its id and those of its runs."""
        batch = new_id("b")
        specs = [_spec(batch, limits or Limits(cpus=0.01, memory_mb=64)) for _ in range(runs)]
        for spec in specs:
            RunDir.create(self.store.run_dir(batch, spec.id).path, spec)
        self.store.add_batch(batch, "", specs, dict(settings or {}))
        return batch, [spec.id for spec in specs]

    def open(self, *runs: str) -> None:
        """Let runs end."""
        for run in runs:
            self.runner.gate(run).set()


def every_run_is_driven_once_and_its_state_returned(stage: Stage) -> None:
    """Start, let everything end, wait."""
    batch, runs = stage.batch(3)
    stage.open(*runs)
    stage.executor.start(batch)
    outcomes = stage.executor.wait(stage.stop)
    driven = stage.runner.driven()
    _require(sorted(driven) == sorted(runs), f"driven were {driven}, not {runs}")
    _require(all(outcomes.get(run) is RunState.DONE for run in runs), f"the outcomes are {dict(outcomes)}")


def starting_returns_before_the_runs_have_ended(stage: Stage) -> None:
    """`start` begins, `wait` waits."""
    batch, runs = stage.batch(1)
    stage.executor.start(batch)
    _require(not stage.store.run(runs[0]).state.final, "the run had ended when start returned")
    stage.open(*runs)
    stage.executor.wait(stage.stop)


def a_run_that_has_ended_is_left_alone(stage: Stage) -> None:
    """A second start of a batch drives what is left of it."""
    batch, runs = stage.batch(2)
    stage.open(*runs)
    stage.runner.drive(runs[0])
    stage.executor.start(batch)
    stage.executor.wait(stage.stop)
    driven = stage.runner.driven()
    _require(driven == runs, f"driven were {driven}, each of {runs} should be once")


def a_run_that_another_process_drives_is_reported_busy_and_the_others_go_on(stage: Stage) -> None:
    """The batch is shared by two processes."""
    batch, runs = stage.batch(2)
    stage.open(*runs)
    with stage.store.claim(runs[0]):
        stage.executor.start(batch)
        outcomes = stage.executor.wait(stage.stop)
    found = outcomes.get(runs[0])
    _require(isinstance(found, StoreError) and found.code == "busy", f"the run of another process was reported as {found!r}")
    _require(outcomes.get(runs[1]) is RunState.DONE, f"the other run was reported as {outcomes.get(runs[1])!r}")


def an_error_in_one_run_is_its_outcome_and_stops_no_other(stage: Stage) -> None:
    """What breaks one run must not take the batch down."""
    batch, runs = stage.batch(3)
    stage.runner.end_with(runs[1], StoreError("the disk is full", code="disk_full"))
    stage.open(*runs)
    stage.executor.start(batch)
    outcomes = stage.executor.wait(stage.stop)
    found = outcomes.get(runs[1])
    _require(isinstance(found, StoreError) and found.code == "disk_full", f"the broken run was reported as {found!r}")
    _require(all(outcomes.get(run) is RunState.DONE for run in (runs[0], runs[2])), f"the others: {dict(outcomes)}")


def stopping_leaves_runs_resumable_and_starts_no_further_one(stage: Stage) -> None:
    """After a stop nothing is driven, and another executor goes on."""
    batch, runs = stage.batch(2)
    stage.executor.start(batch)
    _require(any(stage.runner.started(run).wait(_SOON_S / 2) for run in runs), "no run was started")
    stage.stop.set()
    stage.executor.wait(stage.stop)
    _require(all(stage.store.holder(run) is None for run in runs), "a run is still driven after the stop")
    _require(not any(stage.store.run(run).state.final for run in runs), "a run was ended by the stop")
    again = Stage(stage.factory, stage.store)
    again.open(*runs)
    again.executor.start(batch)
    outcomes = again.executor.wait(again.stop)
    _require(all(outcomes.get(run) is RunState.DONE for run in runs), f"gone on, the outcomes are {dict(outcomes)}")


def a_run_that_nobody_drives_is_ended_by_cancelling_it(stage: Stage) -> None:
    """Cancelling needs no process that drives the run."""
    _, runs = stage.batch(1)
    stage.executor.cancel(runs[0])
    _require(stage.store.files(runs[0]).events_path.exists(), "nothing was recorded of the cancelled run")
    _require(stage.store.run(runs[0]).state is RunState.CANCELLED, f"it is {stage.store.run(runs[0]).state}")


def a_run_that_is_driven_sees_that_it_was_cancelled(stage: Stage) -> None:
    """Another executor asks; the one that drives it ends it."""
    batch, runs = stage.batch(1)
    stage.executor.start(batch)
    _require(stage.runner.started(runs[0]).wait(_SOON_S), "the run was not started")
    stage.factory(Work(stage.runner)).cancel(runs[0])
    outcomes = stage.executor.wait(stage.stop)
    _require(outcomes.get(runs[0]) is RunState.CANCELLED, f"it was reported as {outcomes.get(runs[0])!r}")


def no_more_runs_than_allowed_are_driven_at_once(stage: Stage) -> None:
    """`Work.parallel` is a bound."""
    one = Stage(stage.factory, stage.store, parallel=1)
    batch, runs = one.batch(3)
    one.open(*runs)
    one.executor.start(batch)
    one.executor.wait(one.stop)
    most = one.runner.most_at_once()
    _require(most == 1, f"{most} runs were driven at once")


def limits_that_can_never_be_met_are_refused_beforehand(stage: Stage) -> None:
    """`check` names what is asked for."""
    try:
        stage.executor.check(Limits(cpus=1000, memory_mb=64))
    except MissingError as exc:
        _require("1000" in exc.message and bool(exc.hint), f"the refusal says {exc.message!r}, {exc.hint!r}")
        return
    raise PromiseBroken("1000 CPUs were promised")


def why_a_run_waits_is_said_or_nothing(stage: Stage) -> None:
    """`why` never fails."""
    _, runs = stage.batch(1)
    said = stage.executor.why(stage.store.run(runs[0]))
    _require(isinstance(said, str), f"why said {said!r}")


PROMISES = (
    every_run_is_driven_once_and_its_state_returned,
    starting_returns_before_the_runs_have_ended,
    a_run_that_has_ended_is_left_alone,
    a_run_that_another_process_drives_is_reported_busy_and_the_others_go_on,
    an_error_in_one_run_is_its_outcome_and_stops_no_other,
    stopping_leaves_runs_resumable_and_starts_no_further_one,
    a_run_that_nobody_drives_is_ended_by_cancelling_it,
    a_run_that_is_driven_sees_that_it_was_cancelled,
    no_more_runs_than_allowed_are_driven_at_once,
    limits_that_can_never_be_met_are_refused_beforehand,
    why_a_run_waits_is_said_or_nothing,
)


def _require(kept: bool, seen: str) -> None:
    if not kept:
        raise PromiseBroken(seen)


def _spec(batch: str, limits: Limits) -> RunSpec:
    agent = AgentConfig(name="played", command=("true",))
    return RunSpec(
        id=new_id("r"),
        batch=batch,
        agent=AgentRef(config=agent, digest="0" * 64),
        task=TaskRef(id="played/task", profile="mini", digest="0" * 64, data_digest="0" * 64),
        base_model=BaseModelRef(name="played", digest="0" * 64),
        seed=0,
        budget=Budget(wall=60.0),
        limits=limits,
        generation=Generation(),
        sandbox="scripted",
    )


def main() -> int:
    """Play one run of the store that DOJO_HOME and DOJO_DATABASE name, as ``dojo run --json --take-over RUN`` would drive it."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    store = open_store(Path(os.environ["DOJO_HOME"]), os.environ.get("DOJO_DATABASE"))
    try:
        state = PlayedRunner(store).take_over(sys.argv[1], stop)
    except DojoError as exc:
        print(json.dumps({"error": exc.as_dict()}))
        return exc.exit_code
    return 0 if state.final else 130


if __name__ == "__main__":
    sys.exit(main())
