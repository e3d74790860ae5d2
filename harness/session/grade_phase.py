"""Scoring what was sealed, and the result of a run. The agent and its sandboxes are gone by now."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

from harness.files import write_atomic
from harness.session.place import Place
from harness.session.record import RunRecord
from harness.spec.budget import Usage
from harness.spec.outcome import Cause, Outcome, RunState
from harness.spec.result import GradeRecord, PhaseTime, Reference, RunResult
from harness.spec.run import RunSpec
from harness.spec.submission import Manifest, SubmissionReport
from harness.spec.verdict import ItemScore, Verdict
from harness.store.run_dir import RunDir
from harness.taskkit.scoring.contract import ScoredAnswer, load_grader
from harness.taskkit.scoring.scores import interval, pseudo_values


def grade_sealed(place: Place, run: RunDir, number: int) -> GradeRecord:
    """Score the sealed submission on the hidden split in a fresh grader sandbox.

    The whole verdict goes into the run's private folder. A run that handed nothing in gets 0 on every item.

    Raises:
        GraderFailure: the grader broke or its verdict does not hold; never a score.
    """
    if not run.sealed.exists():
        return _record(place, run, number, _nothing_handed_in(place))
    evaluator = place.evaluator("hidden", submission=run.sealed)
    try:
        verdict, _responses = evaluator.score(run.sealed)
    finally:
        evaluator.close()
    return _record(place, run, number, verdict)


def _record(place: Place, run: RunDir, number: int, verdict: Verdict) -> GradeRecord:
    data = verdict.model_dump_json(indent=1).encode()
    path = run.private / f"verdict-{number}.json"
    write_atomic(path, data, 0o600)
    prepared = place.assets.prepared
    rows = {item["id"]: item["row"] for item in map(json.loads, prepared.hidden_path.read_text(encoding="utf-8").splitlines())}
    values = pseudo_values(verdict.items, load_grader(prepared.task.path), rows)
    low, high = interval(verdict.items, values)
    return GradeRecord(
        number=number,
        time=datetime.now(UTC),
        scores=verdict.scores,
        ci_low=low,
        ci_high=high,
        item_scores={item.id: item.score for item in verdict.items},
        item_subsets={item.id: item.subset for item in verdict.items},
        pseudo_values=values,
        verdict_sha256=hashlib.sha256(data).hexdigest(),
        seconds=verdict.seconds,
        settings=verdict.settings,
    )


def _nothing_handed_in(place: Place) -> Verdict:
    """Return the verdict of a run without a submission: nothing was answered, so nothing is right."""
    prepared = place.assets.prepared
    lines = prepared.hidden_path.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    items = [ItemScore(id=row["id"], subset=row["subset"], parsed=False, score=0.0) for row in rows]
    unanswered = ScoredAnswer(parsed=False, value=None, score=0.0)
    scores = load_grader(prepared.task.path).aggregate(
        ((row["row"], row["subset"], unanswered) for row in rows), prepared.task.dojo.metric.name
    )
    return Verdict(
        split="hidden",
        scores=scores,
        items=tuple(items),
        settings={"no_submission": True},
    )


def build_result(
    spec: RunSpec,
    run: RunDir,
    record: RunRecord,
    outcome: Outcome,
    state: RunState,
    references: tuple[Reference, ...],
) -> RunResult:
    """Put the run's whole story together from its record and its folder."""
    manifest = Manifest.model_validate_json(run.manifest_path.read_bytes()) if run.manifest_path.exists() else None
    chosen = (record.sealed or {}).get("submission")
    report = next((s.answer["report"] for s in record.submissions if s.number == chosen), None)
    artefacts = {
        name: path.relative_to(run.path).as_posix()
        for name, path in {
            "events": run.events_path,
            "stdout": run.path / "agent.stdout",
            "stderr": run.path / "agent.stderr",
            "workspace": run.workspace,
            "sealed": run.sealed,
            "manifest": run.manifest_path,
            "report": run.workspace / "report.md",
        }.items()
        if path.exists()
    }
    best = record.best_evaluation
    return RunResult(
        spec=spec,
        state=state,
        outcome=outcome,
        grade=record.grades[-1] if record.grades else None,
        grades=len(record.grades),
        references=references,
        budget=spec.budget,
        usage=Usage.model_validate(record.usage) if record.usage else Usage(wall=record.elapsed_s),
        submission=manifest,
        submission_report=SubmissionReport.model_validate(report) if report else None,
        submissions=len(record.submissions),
        evaluations=len(record.evaluations),
        best_dev=best.primary if best else None,
        integrity={"survivors": record.survivors, "flagged": outcome.cause is Cause.AGENT_INTEGRITY},
        timeline=_closed(record.timeline),
        artefacts=artefacts,
    )


def _closed(timeline: tuple[PhaseTime, ...]) -> tuple[PhaseTime, ...]:
    """Give the phase that is just ending its length: the result is written before the last transition."""
    if not timeline or timeline[-1].seconds is not None:
        return timeline
    seconds = max(0.0, (datetime.now(UTC) - timeline[-1].entered).total_seconds())
    return (*timeline[:-1], timeline[-1].model_copy(update={"seconds": seconds}))
