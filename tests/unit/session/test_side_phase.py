"""Side evaluations of a run: they hang on a grade, change nothing of it, and where they break the run is what it was."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.sandbox.scripted import ScriptedBackend
from harness.session import side_phase
from harness.session.journal import Journal
from harness.session.record import fold
from harness.spec.errors import GraderFailure, NotFoundError, SealBroken, UsageError
from harness.spec.event import Failed
from harness.spec.outcome import RunState
from harness.spec.result import RunResult
from harness.spec.side import SideMeasure, SideResult
from tests.unit.session.test_runner import RUN, Stage


def result(name: str, value: float = 1.0) -> SideResult:
    measure = SideMeasure(subset="harmful", metric="refusal_rate", better="higher", items={"i": (1.0, value)})
    return SideResult(name=name, title=name, digest="d", measures=(measure,), max_new_tokens=96)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    made = Stage(tmp_path, ScriptedBackend())
    made.library.found().prepared.task = SimpleNamespace(path=tmp_path)  # where relative paths of a profile begin
    return made


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Let each measurement give results of its names; return what was asked for."""
    asked: list[tuple[str, ...]] = []

    def measure(_start: Any, chosen: Any, *_: Any) -> Any:
        asked.append(chosen.names)
        return SimpleNamespace(results=tuple(map(result, chosen.names)), lines=({"id": "i", "answer": "\ud800"},))

    monkeypatch.setattr(side_phase, "measure", measure)
    return asked


def written(stage: Stage) -> RunResult:
    found = stage.run.result()
    assert found is not None
    return found


def test_side_evaluations_are_appended_to_the_grade_and_change_nothing_of_it(stage: Stage, measured: list[Any]) -> None:
    stage.graded()
    before = written(stage)
    grade = stage.runner.side(RUN, ("safety",))
    assert [one.name for one in grade.side] == ["safety"] and measured == [("safety",)]
    stage.runner.side(RUN, ("style", "safety"))
    after = written(stage)
    assert after.grade is not None and [one.name for one in after.grade.side] == ["safety", "style"]
    assert after.grade.model_copy(update={"side": ()}) == before.grade
    assert (after.state, after.outcome, after.grades) == (before.state, before.outcome, 1)
    assert fold(stage.run.events()).grades[-1] == after.grade  # a restart knows it
    row = stage.store.run(RUN)
    assert (row.state, row.score) == (RunState.DONE, 0.75)
    [private] = stage.run.private.glob("side-1.jsonl")
    assert private.stat().st_mode & 0o777 == 0o600 and json.loads(private.read_text())["id"] == "i"


def test_a_run_that_was_planned_with_some_has_them_after_its_grade(stage: Stage, measured: list[Any]) -> None:
    planned = stage.run.spec().model_copy(update={"side": ("style",)})
    (stage.run.path / "run.json").write_text(planned.model_dump_json())
    stage.graded()
    grade = written(stage).grade
    assert grade is not None and [one.name for one in grade.side] == ["style"] and measured == [("style",)]


def test_what_breaks_in_them_is_told_and_the_grade_stands(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise GraderFailure("no memory for it", hint="more")

    monkeypatch.setattr(side_phase, "measure", broken)
    planned = stage.run.spec().model_copy(update={"side": ("style",)})
    (stage.run.path / "run.json").write_text(planned.model_dump_json())
    stage.graded()
    found = written(stage)
    assert found.state is RunState.DONE and found.grade is not None and found.grade.side == ()
    assert [e.data.where for e in stage.run.events() if isinstance(e.data, Failed)] == ["side evaluations"]
    with pytest.raises(GraderFailure, match="no memory"):
        stage.runner.side(RUN, ("style",))
    assert written(stage) == found


def test_without_a_grade_a_submission_or_a_known_name_it_is_refused(stage: Stage, measured: list[Any]) -> None:
    with pytest.raises(UsageError, match="has not ended"):
        stage.runner.side(RUN, ("safety",))
    stage.graded()
    with pytest.raises(NotFoundError, match="side evaluation"):
        stage.runner.side(RUN, ("saftey",))
    (stage.run.sealed / "model").write_text("other weights")
    with pytest.raises(SealBroken):
        stage.runner.side(RUN, ("safety",))
    assert measured == []


def test_a_grade_of_nothing_has_no_side(stage: Stage, measured: list[Any]) -> None:
    stage.graded(drive=False)
    journal = Journal(stage.run, lambda _state: None)
    journal.grade(journal.record.grades[-1].model_copy(update={"number": 2, "engine": None}))
    stage.runner.drive(RUN)
    with pytest.raises(UsageError, match="handed nothing in"):
        stage.runner.side(RUN, ("safety",))
    assert measured == []
