"""Scoring what was sealed. The agent and its sandboxes are gone by now."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.files import write_atomic
from harness.session.record import RunRecord
from harness.session.sealed import check_sealed
from harness.session.site import RunSite
from harness.spec.outcome import Cause, Outcome
from harness.spec.result import GradeRecord
from harness.spec.verdict import ItemScore, Verdict
from harness.taskkit.scoring.contract import ScoredAnswer, load_grader
from harness.taskkit.scoring.plain import plain_text
from harness.taskkit.scoring.scores import interval, pseudo_values

# Among a grade's settings: why grading what was handed in broke.
_BROKE = "broken_by_submission"


def grade_sealed(site: RunSite, record: RunRecord, number: int) -> GradeRecord:
    """Score the sealed submission on the hidden split in a fresh grader sandbox.

    The whole verdict and every answer go into the run's private folder. A run that handed nothing in gets 0 on every item.

    Raises:
        SealBroken: what was sealed is missing or altered; nothing is scored.
        GraderFailure: the grader broke or its verdict does not hold; never a score.
    """
    verdict, responses = _score(site, record)
    write_atomic(site.run.private / f"verdict-{number}.json", written(verdict), 0o600)
    write_atomic(site.run.answers_path(number), _answers(_hidden_items(site), verdict, responses), 0o600)
    return _grade(site, number, verdict)


def grade_as_broken(site: RunSite, number: int, why: str) -> GradeRecord:
    """Grade a submission that breaks its grader, for ``why``: as if nothing had been handed in.

    Only where the base model is graded well, now and all the way: on the same machine, in as large a sandbox, up to what is kept.
    Then it is the submission that breaks it, and no submission makes its run not count.

    Raises:
        DojoError, OSError, ValueError, …: the base model cannot be graded either, so nobody knows whose fault it is.
    """
    with tempfile.TemporaryDirectory(dir=site.run.private, prefix="base-") as folder:
        marker = Path(folder)
        (marker / "dojo.json").write_text('{"dojo": "base"}')
        evaluator = site.evaluator("hidden")
        try:
            verdict, responses = evaluator.score(marker)
        finally:
            evaluator.close()
    written(verdict)
    _answers(_hidden_items(site), verdict, responses)
    _grade(site, number, verdict)
    return _grade(site, number, _nothing_handed_in(site, **{_BROKE: plain_text(why)[:1000]}))


def ended(record: RunRecord) -> Outcome | None:
    """Return how the run ended: as its agent did, unless what it handed in broke its grade (see `grade_as_broken`)."""
    outcome = record.agent_outcome
    why = record.grades[-1].settings.get(_BROKE) if record.grades else None
    if why is None or outcome is None or not outcome.counts or outcome.cause is Cause.AGENT_INTEGRITY:
        return outcome
    text = f"what was handed in breaks its grader, and the base model was graded well right after it: {why}"
    return Outcome(cause=Cause.AGENT_ERROR, phase="grade", message=text, exit_code=outcome.exit_code)


def look_at_sealed(site: RunSite, record: RunRecord) -> GradeRecord:
    """Score the sealed submission like `grade_sealed`, and keep nothing of it: for a quick look at a few items.

    Raises:
        SealBroken, GraderFailure: as `grade_sealed`.
    """
    verdict, _ = _score(site, record)
    return _grade(site, len(record.grades) + 1, verdict)


def _score(site: RunSite, record: RunRecord) -> tuple[Verdict, dict[str, str]]:
    if check_sealed(site.run, record) is None or record.integrity.get("cheating"):
        return _nothing_handed_in(site), {}
    evaluator = site.evaluator("hidden", submission=site.run.sealed)
    try:
        return evaluator.score(site.run.sealed)
    finally:
        evaluator.close()


def _hidden_items(site: RunSite) -> list[dict[str, Any]]:
    return [json.loads(line) for line in site.assets.prepared.hidden_path.read_text(encoding="utf-8").splitlines()]


def written(verdict: Verdict) -> bytes:
    """Return a verdict as it is kept."""
    return verdict.model_dump_json(indent=1).encode()


def _grade(site: RunSite, number: int, verdict: Verdict) -> GradeRecord:
    rows = {item["id"]: item["row"] for item in _hidden_items(site)}
    values = pseudo_values(verdict.items, load_grader(site.assets.prepared.task.path), rows)
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
        failures=verdict.failures,
        verdict_sha256=hashlib.sha256(written(verdict)).hexdigest(),
        seconds=verdict.seconds,
        settings=verdict.settings,
        engine=verdict.engine,
    )


def _answers(items: list[dict[str, Any]], verdict: Verdict, responses: Mapping[str, str]) -> bytes:
    """Return a line for each hidden item: what was asked, what is right, what the model said, and what that is worth."""
    asked = {item["id"]: item for item in items}
    lines = []
    for scored in verdict.items:
        item = asked[scored.id]
        line = {
            "id": scored.id,
            "subset": scored.subset,
            "prompt": item["prompt"],
            "gold": item["gold"],
            "response": responses.get(scored.id, ""),
            "parsed": scored.parsed,
            "score": scored.score,
            "metrics": scored.metrics,
            "value": scored.value,
            **({"failure": scored.failure} if scored.failure else {}),
        }
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    return "".join(lines).encode(errors="replace")


def _nothing_handed_in(site: RunSite, **settings: str) -> Verdict:
    """Return the verdict of a run without a submission: nothing was answered, so nothing is right."""
    task = site.assets.prepared.task
    rows = _hidden_items(site)
    items = [ItemScore(id=row["id"], subset=row["subset"], parsed=False, score=0.0) for row in rows]
    unanswered = ScoredAnswer(parsed=False, value=None, score=0.0)
    scores = load_grader(task.path).aggregate(((row["row"], row["subset"], unanswered) for row in rows), task.dojo.metric.name)
    return Verdict(split="hidden", scores=scores, items=tuple(items), settings={"no_submission": True, **settings}, engine=None)
