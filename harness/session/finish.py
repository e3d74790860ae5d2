"""The one place that ends a run, always in the same order, in which every step may be done again after a crash.

Outcome event → trajectory.json → result.json → last transition (the event is the truth) → index (made again from the folder
when it is behind).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from harness.session.gpu_use import gpu_use
from harness.session.journal import Journal
from harness.session.record import RunRecord
from harness.session.story import tell
from harness.spec.budget import Usage
from harness.spec.errors import UsageError
from harness.spec.event import Ended
from harness.spec.outcome import Cause, Outcome, RunState
from harness.spec.result import BackboneUse, PhaseTime, Reference, RunResult
from harness.spec.run import RunSpec
from harness.spec.submission import Manifest, SubmissionReport
from harness.spec.task import Limits
from harness.store.base import Store
from harness.store.run_dir import RunDir


def finish(spec: RunSpec, journal: Journal, store: Store, outcome: Outcome, references: tuple[Reference, ...] = ()) -> RunResult:
    """End a run with ``outcome``, or write the end of a run that was graded again.

    Raises:
        StoreError: something cannot be written; the run is left to be resumed.
    """
    state = final_state(outcome)
    if journal.record.outcome != outcome:
        journal.emit(Ended(**outcome.model_dump()))
    steps = tell(spec, journal, outcome)
    result = build_result(spec, journal.run, journal.record, outcome, state, references).model_copy(
        update={"trajectory_steps": steps}
    )
    journal.run.write_result(result)
    if journal.record.state is not state:
        journal.enter(state)
    store.record_result(result)
    return result


def final_state(outcome: Outcome) -> RunState:
    """Return the state in which a run with this outcome ends."""
    if outcome.cause is Cause.CANCELLED:
        return RunState.CANCELLED
    return RunState.DONE if outcome.counts else RunState.FAILED


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
    chosen = record.sealed.submission if record.sealed else None
    report = next((s.answer["report"] for s in record.submissions if s.number == chosen), None)
    artefacts = {
        name: path.relative_to(run.path).as_posix()
        for name, path in {
            "events": run.events_path,
            "trajectory": run.trajectory_path,
            "shell": run.shell_log,
            "stdout": run.path / "agent.stdout",
            "stderr": run.path / "agent.stderr",
            "workspace": run.kept,
            "sealed": run.sealed,
            "manifest": run.manifest_path,
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
        sandboxes=_sandboxes(spec),
        usage=Usage.model_validate(record.usage) if record.usage else Usage(wall=record.elapsed_s),
        submission=manifest,
        submission_report=SubmissionReport.model_validate(report) if report else None,
        submissions=len(record.submissions),
        evaluations=len(record.evaluations),
        backbone=_backbone_use(spec, record),
        gpus=gpu_use(run) if spec.limits.gpus else (),
        best_dev=best.primary if best else None,
        integrity={**_integrity(spec, run, record), **_provenance(report), "flagged": outcome.cause is Cause.AGENT_INTEGRITY},
        timeline=_closed(record.timeline),
        artefacts=artefacts,
    )


def _sandboxes(spec: RunSpec) -> dict[str, Limits]:
    try:
        return spec.shares
    except UsageError:  # planned when the agent's own sandbox came on top, with more than there is to share
        return {}


def _backbone_use(spec: RunSpec, record: RunRecord) -> BackboneUse | None:
    if spec.backbone is None:
        return None
    ledger = record.ledger
    return BackboneUse(
        calls=ledger.requests, answered=ledger.answered, refused=ledger.refused, outage_s=round(ledger.stalled_s, 3)
    )


def _provenance(report: Mapping[str, Any] | None) -> dict[str, Any]:
    """How far what counts moved the base model; nothing where it was not measured."""
    return {"provenance": report["provenance"]} if report and report.get("provenance") else {}


def _integrity(spec: RunSpec, run: RunDir, record: RunRecord) -> dict[str, Any]:
    found: dict[str, Any] = {"survivors": record.survivors, "overshoot_s": record.overshoot_s, **record.integrity, **_gap(record)}
    if spec.agent.config.backbone == "required" and record.ledger.requests == 0 and record.clock_started is not None:
        found["backbone_never_called"] = True
    if run.shell_log.exists():
        found["person_in_sandbox"] = True
    return found


def _gap(record: RunRecord) -> dict[str, float]:
    """Say how much better what was handed in did on dev than on hidden items, where it was evaluated as it was handed in.

    A gap beyond its 95 % half-width is what training on the dev split, or choosing by it, looks like.
    """
    if not record.grades or record.sealed is None:
        return {}
    grade = record.grades[-1]
    same = [evaluation.answer["primary"] for evaluation in record.evaluations if evaluation.digest == record.sealed.digest]
    if not same:
        return {}
    dev, hidden = same[-1], grade.scores.primary.value
    halves = ((dev["high"] - dev["low"]) / 2, (grade.ci_high - grade.ci_low) / 2)
    return {"dev_hidden_gap": round(dev["value"] - hidden, 4), "dev_hidden_gap_95": round(math.hypot(*halves), 4)}


def _closed(timeline: tuple[PhaseTime, ...]) -> tuple[PhaseTime, ...]:
    """Give the phase that is just ending its length: the result is written before the last transition."""
    if not timeline or timeline[-1].seconds is not None:
        return timeline
    seconds = max(0.0, (datetime.now(UTC) - timeline[-1].entered).total_seconds())
    return (*timeline[:-1], timeline[-1].model_copy(update={"seconds": seconds}))
