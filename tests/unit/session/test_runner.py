"""What happens when the infrastructure fails, over the real store; tests/e2e runs the same machine over real sandboxes."""

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.sandbox.scripted import ScriptedBackend
from harness.session.collect import manifest_of
from harness.session.journal import Journal
from harness.session.lifecycle import MAX_ATTEMPTS
from harness.session.run import Runner
from harness.session.status import run_status
from harness.spec.agent import AgentConfig
from harness.spec.backbone import BackboneRef
from harness.spec.budget import Budget
from harness.spec.errors import MissingError, SandboxUnavailable, SealBroken, StoreError
from harness.spec.event import ClockStarted, Ended, Entered, EventKind, Failed, Graded, Sealed
from harness.spec.outcome import Cause, Death, Outcome, RunState
from harness.spec.result import GradeRecord
from harness.spec.run import AgentRef, BaseModelRef, RunSpec, TaskRef
from harness.spec.task import Generation, Limits
from harness.spec.verdict import Metric, Scores
from harness.store.database import SqlStore
from harness.store.run_dir import RunDir

RUN = "r20260101-000000-aaaaa"


class BrokenBackend(ScriptedBackend):
    """A host that never gives a sandbox."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error, self.asked = error, 0

    def create(self, spec: Any) -> Any:
        self.asked += 1
        raise self.error


class PlayedLibrary:
    """Task, data and base model that are nowhere."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder
        few_shot = folder / "few_shot.jsonl"
        few_shot.write_text("")
        prepared = SimpleNamespace(dir=folder, few_shot_path=few_shot, digest="d")
        self.found: Callable[[], Any] = lambda: SimpleNamespace(
            prepared=prepared, base_model=SimpleNamespace(path=folder, name="smol", digest="m"), install=None
        )

    def assets(self, _spec: RunSpec, _progress: Any = None) -> Any:
        return self.found()

    def references(self, *_: Any) -> tuple[()]:
        return ()

    def backbone(self, planned: BackboneRef, _store: Any) -> None:
        raise MissingError(f"no key for {planned.name}", hint="set it")

    def open_backbone(self, store: Any, planned: BackboneRef, _run: RunDir) -> Any:
        self.backbone(planned, store)


def spec() -> RunSpec:
    return RunSpec(
        id=RUN,
        batch="b1",
        agent=AgentRef(config=AgentConfig(name="base", command=("true",)), digest="a"),
        task=TaskRef(id="math/aime25", profile="mini", digest="t", data_digest="d"),
        base_model=BaseModelRef(name="smol", digest="m"),
        seed=0,
        budget=Budget(wall=60.0),
        limits=Limits(),
        generation=Generation(),
        sandbox="scripted",
    )


class Stage:
    """A recorded run with a runner."""

    def __init__(self, folder: Path, backend: ScriptedBackend) -> None:
        self.store, self.backend, self.library = SqlStore(folder / "home"), backend, PlayedLibrary(folder)
        self.run = RunDir.create(self.store.run_dir("b1", RUN).path, spec())
        self.run.agent_dir.mkdir()
        self.store.add_batch("b1", "", [spec()], {})
        self.runner = Runner(self.store, self.library, lambda _name: backend)  # type: ignore[arg-type]

    def seal(self, content: str = "weights") -> None:
        """Let the run stand where it was sealed, with an outcome of the agent's own."""
        self.run.sealed.mkdir()
        (self.run.sealed / "model").write_text(content)
        manifest = manifest_of(self.run.sealed)
        self.run.manifest_path.write_text(manifest.model_dump_json())
        journal = Journal(self.run, lambda _state: None)
        for payload in (
            Entered(state=RunState.RUNNING),
            Ended(cause=Cause.COMPLETED, phase="agent"),
            Sealed(submission=1, digest=manifest.digest),
            Entered(state=RunState.SEALED),
        ):
            journal.emit(payload)

    def graded(self, drive: bool = True) -> None:
        """Let the run have a grade, and have ended with it."""
        self.seal()
        scores = Scores(primary=Metric(name="accuracy", value=0.75), parse_rate=1.0, items=1)
        Journal(self.run, lambda _state: None).grade(
            GradeRecord(
                number=1,
                time="2026-01-01T00:00:00Z",
                scores=scores,
                ci_low=0.5,
                ci_high=1.0,
                item_scores={"i": 0.75},
                item_subsets={"i": "s"},
                verdict_sha256="v",
                seconds=1.0,
            )
        )
        if drive:
            assert self.runner.drive(RUN) is RunState.DONE

    def without_assets(self) -> None:
        """Let the task be gone."""

        def missing() -> None:
            raise MissingError("the data has changed", hint="submit anew")

        self.library.found = missing


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (SandboxUnavailable("no room"), Cause.SANDBOX),
        (SandboxUnavailable("the node is gone", death=Death(Cause.EVICTED, "node lost")), Cause.EVICTED),
        (SandboxUnavailable("no node fits", death=Death(Cause.SCHEDULING, "0/3 nodes")), Cause.SCHEDULING),
        (OSError(5, "Input/output error"), Cause.HARNESS),
        (KeyError("bug"), Cause.HARNESS),
    ],
)
def test_an_infrastructure_failure_is_tried_again_then_ends_the_run_without_a_score(tmp_path, error, cause):
    stage = Stage(tmp_path, BrokenBackend(error))
    assert stage.runner.drive(RUN) is RunState.FAILED
    assert stage.backend.asked == MAX_ATTEMPTS
    result = stage.run.result()
    assert result is not None and result.grade is None and result.outcome.cause is cause and not result.outcome.counts
    assert all(phase.seconds is not None for phase in result.timeline)
    row = stage.store.run(RUN)
    assert (row.state, row.cause, row.score) == (RunState.FAILED, cause, None)
    if isinstance(error, KeyError):
        traces = [event.data.traceback for event in stage.run.events() if isinstance(event.data, Failed)]
        assert "KeyError" in traces[0]


class Full(ScriptedBackend):
    """A cluster with room for one sandbox of this run, which has to give way ``times`` times before there is room for two.

    Then the node is lost, three times, which ends the run.
    """

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times, self.asked, self.held = times, list[str](), list[list[str]]()

    def create(self, spec: Any) -> Any:
        assert spec.gives_way, "nothing of the run has begun"
        self.asked.append(spec.id)
        self.held.append(self.list())
        if len(self.asked) <= self.times:
            super().create(spec)
            raise SandboxUnavailable("gives its place to r-older", code="gives_way", death=Death(Cause.SCHEDULING, "full"))
        raise SandboxUnavailable("the node is gone", death=Death(Cause.EVICTED, "node lost"))


def test_a_run_that_gives_way_lets_go_of_what_it_holds_and_asks_again_in_the_same_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.session.lifecycle._STAND_BACK_S", (0.0, 0.0))
    stage = Stage(tmp_path, Full(5))
    assert stage.runner.drive(RUN) is RunState.FAILED
    assert stage.backend.asked == [f"{RUN}-1-task"] * 6 + [f"{RUN}-{attempt}-task" for attempt in (2, 3)]
    assert not any(stage.backend.held), "something was held while it was asked again"
    said = [event.data for event in stage.run.events() if isinstance(event.data, Failed)]
    assert [failed.where for failed in said].count("waiting for a place") == 5


def test_a_run_that_gave_way_says_so_while_it_stands_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.session.lifecycle._STAND_BACK_S", (600.0, 600.0))
    stage, stop = Stage(tmp_path, Full(1)), threading.Event()

    def listener(run: str, event: Any) -> None:
        if isinstance(event.data, Failed):
            said.append(run_status(spec(), stage.run, "", "a driver").why)
            stop.set()

    said: list[str] = []
    assert stage.runner.drive(RUN, stop, listener) is RunState.PREPARING
    assert said == ["gives its place to r-older"]


def test_a_run_that_stands_back_is_cancelled_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.session.lifecycle._STAND_BACK_S", (600.0, 600.0))
    stage = Stage(tmp_path, Full(1))
    ask = stage.backend.create

    def create(spec: Any) -> Any:
        stage.store.request_cancel(RUN)
        return ask(spec)

    stage.backend.create = create  # type: ignore[method-assign]
    assert stage.runner.drive(RUN) is RunState.CANCELLED


@pytest.mark.parametrize("full", [True, False])
def test_a_full_disk_of_the_results_leaves_a_run_as_it_is_and_a_full_sandbox_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    monkeypatch.setattr("harness.session.lifecycle.disk_usage", lambda _path: SimpleNamespace(free=0 if full else 1 << 30))
    stage = Stage(tmp_path, BrokenBackend(OSError(errno.ENOSPC, "No space left on device")))
    if full:
        with pytest.raises(StoreError) as raised:
            stage.runner.drive(RUN)
        assert raised.value.code == "disk_full" and stage.backend.asked == 1
        assert Journal(stage.run, lambda _state: None).record.attempt == 1
    else:
        assert stage.runner.drive(RUN) is RunState.FAILED and stage.backend.asked == MAX_ATTEMPTS


class EndedForMemory(ScriptedBackend):
    """Sandboxes that were ended for memory while no harness watched."""

    def attach(self, id: str) -> Any:
        raise SandboxUnavailable("it is dead", death=Death(Cause.AGENT_ERROR, "its pod was ended for memory"))


@pytest.mark.parametrize("begun", [True, False])
def test_a_sandbox_that_its_agent_ended_while_nobody_watched_begins_no_other_attempt(tmp_path: Path, begun: bool) -> None:
    """Where nothing of an agent had begun in it, it cannot have been the agent."""
    stage = Stage(tmp_path, EndedForMemory())
    journal = Journal(stage.run, lambda _state: None)
    journal.emit(Entered(state=RunState.RUNNING))
    if begun:
        journal.emit(ClockStarted())
    stage.runner.drive(RUN)
    record = Journal(stage.run, lambda _state: None).record
    assert record.attempt == (1 if begun else MAX_ATTEMPTS)
    ends = [event.data for event in stage.run.events() if event.kind is EventKind.OUTCOME]
    assert ends[0].cause is (Cause.AGENT_ERROR if begun else Cause.SANDBOX), ends


def test_what_is_missing_on_this_machine_is_not_tried_again(tmp_path):
    stage = Stage(tmp_path, BrokenBackend(AssertionError("never reached")))

    stage.without_assets()
    assert stage.runner.drive(RUN) is RunState.FAILED
    result = stage.run.result()
    assert result is not None and "submit anew" in result.outcome.message and stage.backend.asked == 0


def test_a_grade_that_was_given_stands_though_the_task_is_gone_when_the_run_is_ended(tmp_path):
    stage = Stage(tmp_path, ScriptedBackend())
    stage.graded(drive=False)
    stage.without_assets()
    assert stage.runner.drive(RUN) is RunState.DONE
    assert stage.store.run(RUN).score == 0.75


def test_a_run_cancelled_while_queued_never_starts(tmp_path):
    stage = Stage(tmp_path, BrokenBackend(AssertionError("never reached")))
    stage.store.request_cancel(RUN)
    assert stage.runner.drive(RUN) is RunState.CANCELLED
    assert stage.store.run(RUN).cause is Cause.CANCELLED and stage.backend.asked == 0


def test_a_run_that_is_driven_is_refused_to_a_second_driver(tmp_path):
    stage = Stage(tmp_path, ScriptedBackend())
    with stage.store.claim(RUN), pytest.raises(StoreError) as busy:
        Runner(SqlStore(tmp_path / "home"), stage.library, lambda _name: stage.backend).drive(RUN)  # type: ignore[arg-type]
    assert busy.value.code == "busy"


@pytest.mark.parametrize("code", ["busy", "database_away"])
def test_what_a_cluster_runs_waits_for_a_dead_drivers_lease_and_for_a_database(tmp_path, monkeypatch, code):
    stage, asked = Stage(tmp_path, ScriptedBackend()), []
    stage.graded(drive=False)
    claim = stage.store.claim

    def in_a_moment(run):
        asked.append(run)
        if len(asked) < 3:
            raise StoreError("not now", code=code)
        return claim(run)

    monkeypatch.setattr(stage.store, "claim", in_a_moment)
    monkeypatch.setattr("harness.session.run._AGAIN_S", 0.01)
    with pytest.raises(StoreError, match="not now"):
        stage.runner.drive(RUN)
    assert stage.runner.take_over(RUN) is RunState.DONE and len(asked) == 3


def test_a_crash_between_the_last_event_and_the_index_is_mended_by_going_on(tmp_path):
    stage = Stage(tmp_path, ScriptedBackend())
    stage.graded()
    stage.store.record_state(RUN, RunState.GRADING)
    assert stage.runner.drive(RUN) is RunState.DONE
    row = stage.store.run(RUN)
    assert (row.state, row.score) == (RunState.DONE, 0.75)


@pytest.mark.parametrize("text", [None, "", '{"spec": ', "[]"])
def test_a_result_that_is_lost_or_cut_is_written_anew_from_the_events(tmp_path, text):
    stage = Stage(tmp_path, ScriptedBackend())
    stage.graded()
    before = stage.run.result()
    stage.run.result_path.unlink()
    if text is not None:
        stage.run.result_path.write_text(text)
    assert stage.runner.drive(RUN) is RunState.DONE
    after = stage.run.result()
    assert before is not None and after is not None and after.grade == before.grade and after.outcome == before.outcome


def test_the_end_of_a_run_is_written_in_one_order(tmp_path):
    stage = Stage(tmp_path, ScriptedBackend())
    stage.graded()
    kinds = [event.kind for event in stage.run.events()]
    assert kinds[-2:] == [EventKind.GRADED, EventKind.STATE] or kinds[-1] is EventKind.STATE
    assert stage.run.result_path.stat().st_mtime_ns <= stage.run.events_path.stat().st_mtime_ns


def _remove(sealed: Path) -> None:
    sealed.chmod(0o755)
    for path in sealed.iterdir():
        path.unlink()
    sealed.rmdir()


def _empty(sealed: Path) -> None:
    (sealed / "model").unlink()


def _alter(sealed: Path) -> None:
    (sealed / "model").write_text("other weights")


def _add(sealed: Path) -> None:
    (sealed / "more").write_text("")


@pytest.mark.parametrize(
    ("damage", "code"),
    [(_remove, "sealed_missing"), (_empty, "sealed_missing"), (_alter, "sealed_altered"), (_add, "sealed_altered")],
)
def test_what_is_not_as_it_was_sealed_is_not_scored_and_the_old_grade_stands(tmp_path, damage, code):
    stage = Stage(tmp_path, ScriptedBackend())
    stage.graded()
    damage(stage.run.sealed)
    with pytest.raises(SealBroken) as refused:
        stage.runner.regrade(RUN)
    assert refused.value.code == code and refused.value.exit_code == 1 and refused.value.hint
    result = stage.run.result()
    assert result is not None and result.grade is not None and result.grade.scores.primary.value == 0.75 and result.grades == 1
    assert stage.store.run(RUN).score == 0.75
    assert not any(isinstance(event.data, Graded) and event.data.number > 1 for event in stage.run.events())


def test_a_manifest_that_was_changed_together_with_the_files_does_not_pass(tmp_path):
    stage = Stage(tmp_path, ScriptedBackend())
    stage.graded()
    _alter(stage.run.sealed)
    stage.run.manifest_path.write_text(manifest_of(stage.run.sealed).model_dump_json())
    with pytest.raises(SealBroken):
        stage.runner.regrade(RUN)


def test_a_first_grading_of_what_is_not_as_it_was_sealed_ends_the_run_as_the_graders_failure(tmp_path):
    stage = Stage(tmp_path, ScriptedBackend())
    stage.seal()
    _remove(stage.run.sealed)
    assert stage.runner.drive(RUN) is RunState.FAILED
    result = stage.run.result()
    assert result is not None and result.grade is None and result.outcome.cause is Cause.GRADER


def test_a_harness_that_has_lost_its_lease_writes_nothing_more(tmp_path):
    stage = Stage(tmp_path, ScriptedBackend())
    journal = Journal(stage.run, lambda _state: None, held=lambda: False)
    with pytest.raises(StoreError) as lost:
        journal.emit(Entered(state=RunState.PREPARING))
    assert lost.value.code == "lost" and not stage.run.events_path.exists()


def test_a_stop_leaves_the_run_resumable(tmp_path):
    stage = Stage(tmp_path, BrokenBackend(SandboxUnavailable("no room")))
    stop = threading.Event()
    stop.set()
    assert not stage.runner.drive(RUN, stop).final
    assert stage.store.holder(RUN) is None and stage.run.result() is None


def test_an_outcome_of_the_agents_own_is_what_an_outcome_is(tmp_path):
    stage = Stage(tmp_path, ScriptedBackend())
    stage.graded()
    result = stage.run.result()
    assert result is not None and result.outcome == Outcome(cause=Cause.COMPLETED, phase="agent")


def test_a_run_whose_backbone_is_not_to_be_had_here_is_left_as_it_is(tmp_path):
    stage = Stage(tmp_path, ScriptedBackend())
    thinking = spec().model_copy(update={"backbone": BackboneRef(name="gpt", upstream="openai", model="m")})
    (stage.run.path / "run.json").write_text(thinking.model_dump_json())
    with pytest.raises(MissingError, match="no key for gpt"):
        stage.runner.drive(RUN)
    assert stage.store.run(RUN).state is RunState.QUEUED and not stage.run.result_path.exists()
