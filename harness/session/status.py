"""Where a run stands, for people and scripts: read from its folder, whoever drives it."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import Field

from harness.session.record import RunRecord, fold
from harness.spec.base import Spec
from harness.spec.budget import BudgetLine, Usage, budget_lines
from harness.spec.event import Event, EventKind
from harness.spec.measured import measured
from harness.spec.outcome import Outcome, RunState
from harness.spec.run import RunSpec
from harness.store.run_dir import RunDir


class RunStatus(Spec):
    """One row of `dojo status`."""

    id: str
    batch: str
    agent: str
    task: str
    profile: str
    base_model: str = ""
    metric: str = Field("", description="of the primary score; empty while nothing was scored")
    sandbox: str = ""
    dojo_version: str = ""
    budget_words: str = Field("", description="the limits in words, as in every heading")
    limit: int | None = Field(None, description="a quick look at so many items; never compared or ranked")
    seed: int
    state: RunState
    phase: str
    outcome: Outcome | None = None
    score: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    elapsed_s: float = 0.0
    budget: dict[str, BudgetLine] = Field(default_factory=dict)
    last_event: str = ""
    dev_score: float | None = Field(None, description="best score on the dev split so far")
    evaluations: int = 0
    submissions: int = 0
    attempt: int = 1
    driven: bool = Field(False, description="whether a live dojo process drives it")
    why: str = Field("", description="why it waits or failed")
    folder: str = Field("", description="relative to DOJO_HOME")


def run_status(spec: RunSpec, run: RunDir, folder: str) -> RunStatus:
    """Read a run's events and say where it stands."""
    record = fold(run.events())
    driven = not record.state.final and run.path.exists() and run.driven()
    usage = _usage(record)
    grade = record.grades[-1] if record.grades else None
    best = record.best_evaluation
    what = measured(spec, _metric(record))
    return RunStatus(
        id=spec.id,
        batch=spec.batch,
        agent=spec.agent.name,
        task=spec.task.id,
        profile=what.profile,
        base_model=what.base_model,
        metric=what.metric,
        sandbox=what.sandbox,
        dojo_version=what.dojo_version,
        budget_words=what.budget,
        limit=spec.limit,
        seed=spec.seed,
        state=record.state,
        phase=record.state.value,
        outcome=record.outcome,
        score=grade.scores.primary.value if grade else None,
        ci_low=grade.ci_low if grade else None,
        ci_high=grade.ci_high if grade else None,
        elapsed_s=usage.wall,
        budget=budget_lines(spec.budget, usage),
        last_event=describe(record.last_event),
        dev_score=best.primary if best else None,
        evaluations=len(record.evaluations),
        submissions=len(record.submissions),
        attempt=record.attempt,
        driven=driven,
        why=_why(record, driven),
        folder=folder,
    )


def _metric(record: RunRecord) -> str:
    """Return the name of the primary score, from what was scored so far."""
    scored = [grade.scores.primary.name for grade in record.grades]
    scored += [str(e.answer["scores"]["primary"].get("name", "")) for e in record.evaluations]
    return scored[0] if scored else ""


def _usage(record: RunRecord) -> Usage:
    if record.usage:
        return Usage.model_validate(record.usage)
    elapsed = record.elapsed_s
    if record.state is RunState.RUNNING and record.clock_started:
        elapsed = max(elapsed, (datetime.now(UTC) - record.clock_started).total_seconds())
    return Usage(wall=elapsed, evaluations=len(record.evaluations))


def _why(record: RunRecord, driven: bool) -> str:
    if record.state.final:
        return record.outcome.message if record.outcome else ""
    if driven:
        return "waits for a free slot" if record.state is RunState.QUEUED else ""
    if record.state is RunState.QUEUED:
        return "waits for its turn, or for `dojo resume`"
    return "no dojo process drives it; go on with `dojo resume`"


def describe(event: Event | None) -> str:
    """Say in a few words what an event means to somebody watching."""
    if event is None:
        return ""
    data = event.data
    match event.kind:
        case EventKind.STATE:
            return f"→ {data['state']}"
        case EventKind.EVALUATE:
            score = data["feedback"]["scores"]["primary"]
            return f"dev evaluation {data['evaluation']}: {score['name']} {score['value']:.3f}"
        case EventKind.SUBMIT:
            return f"submission {data['submission']} taken in"
        case EventKind.NOTE:
            return str(data["text"])[:160]
        case EventKind.EXEC:
            return "ran " + " ".join(data["argv"])[:120]
        case EventKind.VALIDATE:
            return "submission checked: " + ("ok" if data["report"]["ok"] else "not ok")
        case EventKind.BUDGET_WARNING:
            return f"{data['share']:.0%} of the {data['dimension']} budget is spent"
        case EventKind.BUDGET_EXHAUSTED:
            return f"the {data['dimension']} budget is spent"
        case EventKind.GRADED:
            return f"graded: {data['scores']['primary']['value']:.3f}"
        case EventKind.ERROR:
            return str(data.get("message", "error"))[:160]
        case EventKind.OUTCOME:
            return str(data["message"])[:160]
        case _:
            return event.kind.value.replace("_", " ")
