"""A real grader in a real sandbox that breaks on one submission, not on the base; `harness.attack` plays every other way."""

import os
import shutil
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from harness.assets.base_models import BaseModel
from harness.grading.evaluator import Evaluator, Exam
from harness.sandbox.registry import get_backend
from harness.sandbox.scripted import ScriptedBackend
from harness.session.collect import manifest_of
from harness.session.finish import finish
from harness.session.grade_phase import ended
from harness.session.journal import Journal
from harness.session.lifecycle import RunSession
from harness.session.record import RunRecord
from harness.spec.errors import GraderFailure
from harness.spec.event import Ended, Entered, Failed, Sealed
from harness.spec.outcome import Cause, Outcome, RunState
from harness.spec.result import GradeRecord
from harness.spec.task import Generation, Limits, load_task_config
from harness.spec.verdict import Metric, Scores
from harness.store.database import SqlStore
from harness.store.run_dir import RunDir
from tests.unit.grading.tiny import (
    TOY_TASK,
    random_weights,
    toy_items,
    write_base,
    write_lines,
    write_marker,
    write_model,
    write_tokenizer,
)
from tests.unit.session.test_runner import RUN, Stage, spec

GENERATION = Generation(max_new_tokens=8, max_context=512, batch_size=4)


@pytest.mark.slow
def test_a_run_whose_answers_break_the_tasks_grader_counts_as_if_nothing_was_handed_in(tmp_path):
    backend = get_backend(os.environ.get("DOJO_TEST_SANDBOX", "namespace"))
    if bad := [check for check in backend.check() if not check.ok]:
        pytest.skip(f"this host cannot isolate: {bad[0].detail}")
    tmp_path.chmod(0o755)
    write_tokenizer(write_base(tmp_path / "base"))
    hidden = write_lines(tmp_path / "hidden.jsonl", toy_items(4))
    few_shot = write_lines(tmp_path / "few_shot.jsonl", toy_items(2))
    base = BaseModel("toy", tmp_path / "base", "0" * 64, 0)
    limits = Limits(memory_mb=3000)
    with Evaluator.start(
        backend, f"{RUN}-known", Exam(TOY_TASK, base, hidden, few_shot, GENERATION, "hidden"), limits
    ) as evaluator:
        _, known = evaluator.score(write_marker(tmp_path / "marker"))
    brittle = tmp_path / "brittle"
    shutil.copytree(TOY_TASK, brittle)
    code = (brittle / "tests" / "grader.py").read_text()
    line = "    text = response.strip()\n"
    check = f"    if response not in {sorted(known.values())!r}:\n        raise ValueError('an answer I did not foresee')\n"
    (brittle / "tests" / "grader.py").write_text(code.replace(line, check + line))

    task = SimpleNamespace(id="toy/brittle", path=brittle, dojo=load_task_config(brittle / "task.toml").metadata.dojo)
    prepared = SimpleNamespace(
        task=task, profile="mini", digest="d", dir=tmp_path, hidden_path=hidden, dev_path=hidden, few_shot_path=few_shot
    )
    library = SimpleNamespace(
        cache=tmp_path / "cache",
        assets=lambda _spec: SimpleNamespace(prepared=prepared, base_model=base, install=None),
        references=lambda *_: (),
        open_backbone=lambda *_: None,
    )
    planned = spec().model_copy(update={"generation": GENERATION, "limits": limits, "sandbox": backend.name})
    store = SqlStore(tmp_path / "home")
    run = RunDir.create(store.run_dir("b1", RUN).path, planned)
    store.add_batch("b1", "", [planned], {})
    noise = random_weights(5)
    moved = {name: (w + 0.3 * noise[name] * (w.ndim > 1)).astype(np.float32) for name, w in random_weights(0).items()}
    write_model(run.sealed, moved)
    manifest = manifest_of(run.sealed)
    run.manifest_path.write_text(manifest.model_dump_json())
    with store.claim(RUN) as lease:
        journal = Journal(run, lambda _state: None, held=lease.held)
        for payload in (
            Entered(state=RunState.RUNNING),
            Ended(cause=Cause.COMPLETED, phase="agent"),
            Sealed(submission=1, digest=manifest.digest),
            Entered(state=RunState.SEALED),
        ):
            journal.emit(payload)
        RunSession(planned, journal, store, backend, library, threading.Event()).drive()
    result = run.result()
    assert result.state is RunState.DONE and result.outcome.cause is Cause.AGENT_ERROR
    assert "an answer I did not foresee" in result.outcome.message and "base model was graded well" in result.outcome.message
    assert result.grade.scores.primary.value == 0 and set(result.grade.item_scores) == set(known)
    assert "an answer I did not foresee" in result.integrity["broke_its_grade"]
    assert sum(isinstance(e.data, Failed) and e.data.where == "grade" for e in run.events()) == 3
    assert not [left for left in backend.list() if left.startswith(RUN)]


class Breaking:
    """Answers `grade_sealed` and the base model's grade as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, sealed: Exception, base: Exception | None) -> None:
        self.asked: list[str] = []
        self._sealed, self._base = sealed, base
        monkeypatch.setattr("harness.session.run.grade_sealed", self.sealed)
        monkeypatch.setattr("harness.session.run.grade_as_broken", self.base)

    def sealed(self, *_: object, **__: object) -> GradeRecord:
        self.asked.append("sealed")
        raise self._sealed

    def base(self, _site: object, number: int, why: str) -> GradeRecord:
        self.asked.append(why)
        if self._base is not None:
            raise self._base
        return grade(number, broken_by_submission=why)


def grade(number: int, **settings: str) -> GradeRecord:
    scores = Scores(primary=Metric(name="accuracy", value=0.0), parse_rate=0.0, items=1)
    known = {"scores": scores, "ci_low": 0.0, "ci_high": 0.0, "item_scores": {"i": 0.0}, "verdict_sha256": "", "seconds": 0.0}
    return GradeRecord(number=number, time="2026-01-01T00:00:00Z", settings=settings, **known)


def test_grading_anew_what_was_never_graded_blames_what_breaks_it_once_the_base_model_is_graded_well(tmp_path, monkeypatch):
    stage = Stage(tmp_path, ScriptedBackend())
    ended_without_a_grade(stage)
    Breaking(monkeypatch, GraderFailure("it broke"), None)
    stage.runner.regrade(RUN)
    result = stage.run.result()
    assert result.state is RunState.DONE and result.outcome.cause is Cause.AGENT_ERROR and "it broke" in result.outcome.message


def test_grading_anew_blames_nobody_while_the_base_model_cannot_be_graded(tmp_path, monkeypatch):
    stage = Stage(tmp_path, ScriptedBackend())
    ended_without_a_grade(stage)
    Breaking(monkeypatch, GraderFailure("it broke"), GraderFailure("no GPU"))
    with pytest.raises(GraderFailure, match="it broke"):
        stage.runner.regrade(RUN)
    assert stage.run.result().state is RunState.FAILED


def test_a_grade_that_was_given_is_not_taken_away_by_a_later_failure(tmp_path, monkeypatch):
    stage = Stage(tmp_path, ScriptedBackend())
    stage.graded()
    breaking = Breaking(monkeypatch, GraderFailure("it broke"), None)
    with pytest.raises(GraderFailure):
        stage.runner.regrade(RUN)
    assert breaking.asked == ["sealed"] and stage.run.result().grade.scores.primary.value == 0.75


def test_a_run_that_counts_for_nothing_anyway_keeps_its_cause():
    record = RunRecord(
        agent_outcome=Outcome(cause=Cause.MODEL_PROVIDER, phase="agent"), grades=(grade(1, broken_by_submission="x"),)
    )
    assert ended(record) == record.agent_outcome
    flagged = RunRecord(agent_outcome=Outcome(cause=Cause.AGENT_INTEGRITY, phase="agent"), grades=record.grades)
    assert ended(flagged) == flagged.agent_outcome


def ended_without_a_grade(stage: Stage) -> None:
    """Let the run have failed: its grader broke on the base model too."""
    stage.seal()
    journal = Journal(stage.run, lambda _state: None)
    finish(spec(), journal, stage.store, Outcome(cause=Cause.GRADER, phase="grade", message="it broke"))
