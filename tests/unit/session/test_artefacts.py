"""A run is put away when it has ended, whatever comes of that, and fetched when it is graded again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.sandbox.scripted import ScriptedBackend
from harness.session.artefacts import WHERE
from harness.session.run import Runner
from harness.session.sealed import check_sealed
from harness.spec.errors import MissingError, SealBroken, StoreError
from harness.spec.event import Failed, Graded
from harness.spec.outcome import Cause, RunState
from harness.spec.result import GradeRecord
from harness.store.artefacts.drop import drop_parts
from harness.store.artefacts.dropped import dropped_parts, mark_dropped
from harness.store.artefacts.manifest import read_manifest, runs_there
from harness.store.artefacts.place import Place, open_place
from tests.unit.session.test_broken_grades import grade
from tests.unit.session.test_runner import RUN, Stage

pytest.importorskip("fsspec", reason="fsspec is missing: pip install 'dojo-bench[s3]'")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A recorded run whose runner has a place to put it; grading again looks at the seal and gives 0."""
    made = Stage(tmp_path, ScriptedBackend())
    made.runner = with_place(made, f"file://{tmp_path}/place")

    def graded(site, record, number: int) -> GradeRecord:
        check_sealed(site.run, record)
        return grade(number)

    monkeypatch.setattr("harness.session.run.grade_sealed", graded)
    return made


def with_place(stage: Stage, url: str) -> Runner:
    return Runner(stage.store, stage.library, lambda _name: stage.backend, artefacts=url)  # type: ignore[arg-type]


def place(stage: Stage) -> Place:
    return open_place(stage.runner.artefacts)


def troubles(stage: Stage) -> list[Failed]:
    return [event.data for event in stage.run.events() if isinstance(event.data, Failed) and event.data.where == WHERE]


def test_a_run_that_ends_is_put_away_whole_and_again_when_it_is_graded_again(stage: Stage) -> None:
    stage.graded()
    first = read_manifest(place(stage), "b1", RUN)
    assert first is not None and {"result.json", "events.jsonl", "sealed/model", "trajectory.json"} <= {
        f.path for f in first.files
    }
    assert not troubles(stage)
    stage.runner.regrade(RUN)
    second = read_manifest(place(stage), "b1", RUN)
    assert second is not None and len(second.objects().keys() - first.objects().keys()) == 3  # events, result, trajectory
    assert stage.runner.drive(RUN) is RunState.DONE  # over already: nothing is put there anew
    assert read_manifest(place(stage), "b1", RUN) == second


@pytest.mark.parametrize("trouble", ["a file in its way", "no such scheme", "a fault of ours"])
def test_what_cannot_be_put_away_is_one_event_and_changes_no_outcome(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    if trouble == "a file in its way":
        (tmp_path / "place").write_text("no folder")
    elif trouble == "no such scheme":
        stage.runner = with_place(stage, "nosuch://bucket")
    else:

        def fault(*_: object) -> None:
            raise KeyError("a fault")

        monkeypatch.setattr("harness.session.artefacts.push_run", fault)
    stage.graded()
    result = stage.run.result()
    assert result is not None and result.state is RunState.DONE and result.outcome.cause is Cause.COMPLETED
    assert result.grade is not None and result.grade.scores.primary.value == 0.75
    (told,) = troubles(stage)
    assert told.message and f"dojo artefacts push {RUN}" in (told.hint or "") and told.code
    assert stage.store.run(RUN).state is RunState.DONE


def test_a_run_without_a_place_is_put_nowhere(stage: Stage) -> None:
    stage.runner = with_place(stage, "")
    stage.graded()
    assert not troubles(stage) and stage.runner.regrade(RUN).number == 2


def test_grading_again_fetches_what_was_dropped(stage: Stage) -> None:
    stage.graded()
    assert drop_parts(place(stage), stage.run, "b1") > 0 and not stage.run.sealed.exists()
    assert stage.runner.regrade(RUN).number == 2
    assert stage.run.sealed.is_dir() and dropped_parts(stage.run) == ()


def test_grading_again_fetches_what_was_freed_for_good_where_it_is_there(stage: Stage) -> None:
    stage.graded()
    shutil.rmtree(stage.run.sealed)
    assert stage.runner.regrade(RUN).number == 2


def test_what_was_dropped_and_cannot_be_fetched_is_said_and_the_old_grade_stands(stage: Stage, tmp_path: Path) -> None:
    stage.graded()
    drop_parts(place(stage), stage.run, "b1")
    (model,) = (file for file in read_manifest(place(stage), "b1", RUN).files if file.path == "sealed/model")  # type: ignore[union-attr]
    (tmp_path / "place" / "b1" / RUN / model.sha256).write_bytes(b"altered")
    with pytest.raises(StoreError, match="sealed/model"):
        stage.runner.regrade(RUN)
    stage.runner = with_place(stage, "")
    with pytest.raises(MissingError, match="DOJO_ARTEFACTS"):
        stage.runner.regrade(RUN)
    assert sum(isinstance(event.data, Graded) for event in stage.run.events()) == 1


def test_what_comes_back_is_compared_with_the_seal_as_ever(stage: Stage, tmp_path: Path) -> None:
    """Whoever may write the place can make a manifest that fits; the run's events, which lie here, still say what was sealed."""
    stage.graded()
    (stage.run.sealed / "model").write_text("planted")
    stage.run.manifest_path.unlink()
    from harness.store.artefacts.push import push_run

    push_run(place(stage), stage.run)
    shutil.rmtree(stage.run.sealed)
    mark_dropped(stage.run, ("sealed",))
    with pytest.raises(SealBroken):
        stage.runner.regrade(RUN)


def test_nothing_of_a_run_that_goes_on_is_put_away(stage: Stage) -> None:
    stage.seal()
    stage.without_assets()
    assert list(runs_there(place(stage))) == []
    assert stage.runner.drive(RUN) is RunState.FAILED
    assert [run for _, run, whole in runs_there(place(stage)) if whole] == [RUN]
