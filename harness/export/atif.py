"""A run as an ATIF 1.8 trajectory (Harbor's Agent Trajectory Interchange Format), written step by step.

Everything in it is the harness's own record: the run's events and, where the run had a backbone, the gateway's recording.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any

from harness.export.deeds import deed_of, happening_of
from harness.export.spool import Spool
from harness.export.steps import Draft, system
from harness.export.talks import Talk, Talks
from harness.export.turns import turns
from harness.files import sync_directory
from harness.gateway.recording import Exchange
from harness.spec.event import Entered, Event, Graded, LlmCalled, LlmReserved
from harness.spec.measured import budget_words
from harness.spec.outcome import Outcome, RunState
from harness.spec.run import RunSpec

VERSION = "ATIF-v1.8"
# Steps that belong to no conversation with a model; told among those of the main one.
RUN = "run"


@dataclass(frozen=True)
class Story:
    """What a trajectory is made of.

    Attributes:
        events: of the run, all attempts; the steps are those of the last one. Gone through more than once, never held: what an
            agent makes the harness record may be more than its memory.
        outcome: how it ended; None while it goes on.
        exchanges: the gateway's recording of the last attempt; None: the run had no backbone.
    """

    spec: RunSpec
    events: Iterable[Event]
    outcome: Outcome | None = None
    exchanges: Iterable[Exchange] | None = None


@dataclass(frozen=True)
class _Told:
    """Everything but the steps."""

    head: dict[str, Any]
    talks: Talks
    notes: list[str]


def write_trajectory(path: Path, story: Story) -> int:
    """Write a run's trajectory, whole or not at all, and return its number of steps, those of side conversations left out.

    It is readable to its owner only, as a recorded talk is.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        with (
            Spool(tempfile.TemporaryFile(dir=path.parent)) as spool,
            partial.open("w", encoding="utf-8", errors="replace") as out,
        ):
            partial.chmod(0o600)
            steps = _write(out, _tell(spool, story), spool)
            out.flush()
            os.fsync(out.fileno())
        partial.rename(path)
        sync_directory(path.parent)
        return steps
    finally:
        partial.unlink(missing_ok=True)


def _tell(spool: Spool, story: Story) -> _Told:
    """Put all steps into ``spool`` and return what else there is to say."""
    outline = _outline(story.events)
    attempts = len(outline.earlier) + 1
    if outline.began is not None:
        spool.put(RUN, system(outline.began, _opening(story.spec), **({"attempt": attempts} if attempts > 1 else {})))
        for why in outline.earlier:
            spool.put(RUN, system(outline.began, why))
    talks = Talks(spool)
    notes = _tell_all(spool, talks, story.events, outline, story.exchanges)
    talks.end()
    if spool.left_out:
        notes.append(f"{spool.left_out} steps were left out for size; events.jsonl and the recording have them")
    return _Told(_head(story, attempts, outline.grade), talks, notes)


def _tell_all(
    spool: Spool, talks: Talks, events: Iterable[Event], outline: _Outline, exchanges: Iterable[Exchange] | None
) -> list[str]:
    """Tell calls and events in the order of time; return what could not be told."""
    called = outline.called
    waiting = (event for event in islice(events, outline.start, None) if not isinstance(event.data, LlmReserved))
    following = next(waiting, None)
    told: set[int] = set()
    notes: list[str] = []

    def tell_until(time: datetime | None) -> None:
        nonlocal following
        while (event := following) is not None and (time is None or event.time <= time):
            following = next(waiting, None)
            if (deed := deed_of(event)) is not None:
                if not talks.attach(deed):
                    spool.put(RUN, deed)
            elif (happening := happening_of(event)) is not None:
                spool.put(RUN, happening)

    try:
        for turn in turns(exchanges, called) if exchanges is not None else ():
            tell_until(turn.asked)
            talks.take(turn)
            told.add(turn.call)
    except Exception as exc:  # a damaged recording: what was read of it stands, the ledger tells the rest
        notes.append(f"the recording could not be read to its end ({type(exc).__name__}: {exc})")
    tell_until(None)
    lost = 0
    if len(told) < len(called):
        for event in islice(events, outline.start, None):
            if isinstance(event.data, LlmCalled) and event.data.call not in told:
                lost += 1
                spool.put(RUN, _unrecorded(event))
    if lost:
        notes.append(f"{lost} calls stand in the ledger alone: what was said in them was not recorded, or cannot be read")
    return notes


def _unrecorded(event: Event) -> Draft:
    """Return a call of which only the ledger's line is left."""
    said = event.data
    assert isinstance(said, LlmCalled)
    if said.status >= 400:
        return system(event.time, f"call {said.call} failed with status {said.status}: {said.error}", call=said.call)
    tokens = {"prompt_tokens": said.input_tokens, "completion_tokens": said.output_tokens, "cached_tokens": said.cached_tokens}
    metrics = {name: value for name, value in {**tokens, "cost_usd": said.dollars or None}.items() if value is not None}
    body = {"llm_call_count": 1, "extra": {"call": said.call, "stop": said.stop, "recorded": False}}
    if said.served:
        body["model_name"] = said.served
    return Draft(event.time, "agent", "", {**body, **({"metrics": metrics} if metrics else {})})


def _head(story: Story, attempts: int, grade: Graded | None) -> dict[str, Any]:
    spec = story.spec
    extra = {
        "dojo_run": spec.id,
        "task": spec.task.id,
        "profile": spec.task.profile,
        "base_model": spec.base_model.name,
        "seed": spec.seed,
        "sandbox": spec.sandbox,
        "backbone": spec.backbone.name if spec.backbone else None,
        "dojo_version": spec.versions.get("dojo", ""),
        "attempts": attempts,
        "outcome": story.outcome.model_dump(mode="json") if story.outcome else None,
        "score": grade.scores.primary.model_dump(mode="json") if grade else None,
    }
    model = {"model_name": spec.backbone.model or spec.backbone.name} if spec.backbone else {}
    return {
        "schema_version": VERSION,
        "session_id": spec.id,
        "trajectory_id": spec.id,
        "agent": {
            "name": spec.agent.name, "version": spec.agent.config.version, **model, "extra": {"digest": spec.agent.digest},
        },
        "extra": {key: value for key, value in extra.items() if value not in (None, "")},
    }  # fmt: skip


def _opening(spec: RunSpec) -> str:
    return (
        f"Agent {spec.agent.name} {spec.agent.config.version} fine-tunes {spec.base_model.name} on task {spec.task.id} "
        f"({spec.task.profile}), seed {spec.seed}; budget: {budget_words(spec.budget)}."
    )


@dataclass
class _Outline:
    """What has to be known of the events before they are told.

    Attributes:
        earlier: why earlier attempts ended.
        start: number of the last attempt's first event.
        began: its time; None where there is no event.
        called: the last attempt's calls.
        grade: the newest.
    """

    earlier: list[str] = field(default_factory=list)
    start: int = 0
    began: datetime | None = None
    called: dict[int, LlmCalled] = field(default_factory=dict)
    grade: Graded | None = None


def _outline(events: Iterable[Event]) -> _Outline:
    found = _Outline()
    for number, event in enumerate(events):
        match event.data:
            case Entered(state=RunState.QUEUED, why=why) if number > found.start:
                attempt = len(found.earlier) + 1
                found.earlier.append(f"attempt {attempt} ended, and another was begun: {why or 'no reason was recorded'}")
                found.start, found.began, found.called = number, None, {}
            case Graded() as said:
                found.grade = said
            case LlmCalled() as called:
                found.called[called.call] = called
        found.began = found.began or event.time
    return found


def _write(out: IO[str], told: _Told, spool: Spool) -> int:
    """Write the whole, each step on a line of its own. Side conversations follow the main one as sub-agents' trajectories."""
    main = told.talks.main()
    out.write("{\n")
    _write_fields(out, told.head)
    _write_steps(out, spool, RUN, *((main.key,) if main else ()))
    aside = [talk for talk in told.talks.talks if talk is not main]
    if aside:
        out.write(',\n"subagent_trajectories": [\n')
        for number, talk in enumerate(aside):
            out.write(",\n{\n" if number else "{\n")
            begun = (
                {"begun_by": {"talk": talk.thread.begun_by[0], "tool_call_id": talk.thread.begun_by[1]}}
                if talk.thread.begun_by
                else {}
            )
            head = {key: told.head[key] for key in ("schema_version", "session_id", "agent")}
            _write_fields(out, {**head, "trajectory_id": talk.key, "extra": {"calls": talk.thread.calls, **begun}})
            _write_steps(out, spool, talk.key)
            out.write(f',\n"final_metrics": {json.dumps(_metrics(talk, spool.count(talk.key)))}\n}}')
        out.write("\n]")
    total = spool.count(RUN) + (spool.count(main.key) if main else 0)
    out.write(f',\n"final_metrics": {json.dumps(_metrics(main, total))}')
    if told.notes:
        out.write(f',\n"notes": {json.dumps("; ".join(told.notes))}')
    out.write("\n}\n")
    return total


def _metrics(talk: Talk | None, steps: int) -> dict[str, Any]:
    """Return the sums of one conversation. What the upstream did not report is in none of them, and said."""
    totals = talk.totals if talk else {}
    names = {"total_cost_usd": "cost_usd"} | {
        f"total_{name}": name for name in ("prompt_tokens", "completion_tokens", "cached_tokens")
    }
    found = {total: totals[name] for total, name in names.items() if name in totals}
    extra = {"extra": {"calls_of_unknown_usage": talk.unknown}} if talk and talk.unknown else {}
    return {**found, "total_steps": steps, **extra}


def _write_fields(out: IO[str], fields: dict[str, Any]) -> None:
    for key, value in fields.items():
        out.write(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)},\n")


def _write_steps(out: IO[str], spool: Spool, *talks: str) -> None:
    out.write('"steps": [\n')
    separator = ""
    for step in spool.steps(*talks):
        out.write(separator + json.dumps(step, ensure_ascii=False))
        separator = ",\n"
    out.write("\n]")
