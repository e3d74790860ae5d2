"""Where a run stands, for people and scripts: read from its folder, whoever drives it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import Field

from harness.session.record import RunRecord, fold
from harness.spec.base import Spec
from harness.spec.budget import BudgetLine, Usage, budget_lines
from harness.spec.event import (
    BudgetSpent,
    BudgetWarning,
    Ended,
    Entered,
    Evaluated,
    Event,
    Executed,
    Failed,
    Graded,
    LlmCalled,
    LlmOutage,
    LlmRefused,
    LlmReserved,
    Noted,
    SideEvaluated,
    Submitted,
    Validated,
)
from harness.spec.measured import measured
from harness.spec.outcome import Outcome, RunState
from harness.spec.run import RunSpec
from harness.store.run_dir import RunDir


class RunStatus(Spec):
    """One row of `dojo status`."""

    id: str
    batch: str
    agent: str
    variant: str = Field("", description="what tells its agent apart from that agent as it comes, as `feedback=false`")
    task: str
    profile: str
    hidden: str = Field("", description="a mark where anybody can make the hidden split")
    base_model: str = ""
    metric: str = Field("", description="of the primary score; empty while nothing was scored")
    sandbox: str = ""
    backbone: str = Field("", description="the language model its agent thinks with")
    dojo_version: str = ""
    budget_words: str = Field("", description="the limits in words, as in every heading")
    limit: int | None = Field(None, description="a quick look at so many items; never compared or ranked")
    excluded: str = Field("", description='why somebody left the run out of comparisons; "" where nobody did')
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
    driven_by: str | None = Field(None, description="that process: host and pid")
    why: str = Field("", description="why it waits or failed")
    folder: str = Field("", description="relative to DOJO_HOME")

    @property
    def shown(self) -> str:
        """The agent's name with what tells the variant apart."""
        return f"{self.agent} {self.variant}".strip()


# What was said of runs that have ended, with how their files were then: many ask a service for the same batch again and again.
_ENDED: dict[Path, tuple[tuple[int, ...], RunStatus]] = {}
_REMEMBERED = 4096


def run_status(spec: RunSpec, run: RunDir, folder: str, driver: str | None) -> RunStatus:
    """Read a run's events and say where it stands.

    Args:
        spec: the run.
        run: its folder.
        folder: the same, as people are told it.
        driver: the process that drives it, as the store knows; None: nobody.

    Raises:
        StoreError: its events cannot be read (code ``damaged``).
    """
    stamp = _stamp(run)
    known = _ENDED.get(run.path)
    if known is not None and known[0] == stamp:
        return known[1].model_copy(update={"folder": folder})
    found = _read(spec, run, folder, driver)
    if found.state.final and stamp:
        if len(_ENDED) >= _REMEMBERED:
            _ENDED.clear()
        _ENDED[run.path] = (stamp, found)
    return found


def _stamp(run: RunDir) -> tuple[int, ...]:
    """Return how a run's files are: its events, which only grow, and what was planned; () where they are not there."""
    try:
        found = [path.stat() for path in (run.events_path, run.path / "run.json")]
        return tuple(number for each in found for number in (each.st_ino, each.st_size, each.st_mtime_ns))
    except OSError:
        return ()


def _read(spec: RunSpec, run: RunDir, folder: str, driver: str | None) -> RunStatus:
    record = fold(run.events())
    driven = driver is not None and not record.state.final
    usage = _usage(record)
    grade = record.grades[-1] if record.grades else None
    best = record.best_evaluation
    what = measured(spec, _metric(record))
    return RunStatus(
        id=spec.id,
        batch=spec.batch,
        agent=spec.agent.name,
        variant=spec.variant,
        task=spec.task.id,
        profile=what.profile,
        hidden=what.hidden,
        base_model=what.base_model,
        metric=what.metric,
        sandbox=what.sandbox,
        backbone=what.backbone,
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
        driven_by=driver if driven else None,
        why=_why(spec, record, driven),
        folder=folder,
    )


def _called(said: LlmCalled) -> str:
    tokens = f"{said.input_tokens} + {said.output_tokens}" if said.input_tokens is not None else f"{said.tokens} (not reported)"
    went = said.error or said.stop or str(said.status)
    return f"backbone call {said.call}: {went}, {tokens} tokens, {said.latency_s:.1f} s" + (
        f", ${said.dollars:.4f}" if said.dollars else ""
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
    ledger = record.ledger
    return Usage(
        wall=elapsed,
        evaluations=len(record.evaluations),
        tokens=ledger.spent_tokens,
        output_tokens=ledger.spent_output_tokens,
        requests=ledger.requests,
        dollars=ledger.spent_dollars,
    )


def _why(spec: RunSpec, record: RunRecord, driven: bool) -> str:
    if record.state.final:
        return record.outcome.message if record.outcome else ""
    if driven:
        last = record.last_event.data if record.last_event else None
        if isinstance(last, Failed) and last.code == "gives_way":
            return last.message
        return "waits for a free slot" if record.state is RunState.QUEUED else ""
    if record.state is RunState.QUEUED:
        return "waits for its turn, or for `dojo resume`"
    if record.state is RunState.RUNNING and record.clock_started:
        end = record.clock_started + timedelta(seconds=spec.budget.wall)
        over = end <= datetime.now(UTC)
        until = f"{'its budget was over at' if over else 'its agent works on in its sandbox until'} {end.astimezone():%H:%M:%S}"
        return f"no dojo process drives it; {until}; go on with `dojo resume`"
    return "no dojo process drives it; go on with `dojo resume`"


def describe(event: Event | None) -> str:
    """Say in a few words what an event means to somebody watching."""
    if event is None:
        return ""
    match event.data:
        case Entered(state=state):
            return f"→ {state.value}"
        case Evaluated() as said:
            score = said.feedback.scores.primary
            return f"dev evaluation {said.evaluation}: {score.name} {score.value:.3f}"
        case Submitted(submission=number):
            return f"submission {number} taken in"
        case Noted(text=text):
            return text[:160]
        case Executed(argv=argv):
            return "ran " + " ".join(argv)[:120]
        case Validated(report=report):
            return "submission checked: " + ("ok" if report.ok else "not ok")
        case LlmCalled() as said:
            return _called(said)
        case LlmRefused(error=error, message=message):
            return f"backbone call refused: {error}: {message}"[:160]
        case LlmOutage(seconds=seconds, message=message):
            return f"the backbone was down for {seconds:.0f} s: {message}"[:160]
        case LlmReserved(call=call, tokens=tokens):
            return f"backbone call {call}: up to {tokens:,} tokens set aside"
        case BudgetWarning(dimension=dimension, share=share):
            return f"{share:.0%} of the {dimension} budget is spent"
        case BudgetSpent(dimension=dimension):
            return f"the {dimension} budget is spent"
        case Graded(scores=scores):
            return f"graded: {scores.primary.value:.3f}"
        case SideEvaluated(results=results):
            return f"side evaluations: {', '.join(one.name for one in results)}"
        case Failed(message=message) | Ended(message=message):
            return message[:160]
        case _:
            return event.kind.value.replace("_", " ")
