"""A run as an ATIF 1.8 trajectory (Harbor's Agent Trajectory Interchange Format), written step by step.

Everything in it is the harness's own record: the run's events and, where the run had a backbone, the gateway's recording.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
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
        events: of the run, all attempts; the steps are those of the last one.
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
    attempts, earlier, events, grade = _last_attempt(story.events)
    if events:
        spool.put(RUN, system(events[0].time, _opening(story.spec), **({"attempt": attempts} if attempts > 1 else {})))
    for why in earlier:
        spool.put(RUN, system(events[0].time, why))
    talks = Talks(spool)
    notes = _tell_all(spool, talks, events, story.exchanges)
    talks.end()
    if spool.left_out:
        notes.append(f"{spool.left_out} steps were left out for size; events.jsonl and the recording have them")
    return _Told(_head(story, attempts, grade), talks, notes)


def _tell_all(spool: Spool, talks: Talks, events: list[Event], exchanges: Iterable[Exchange] | None) -> list[str]:
    """Tell calls and events in the order of time; return what could not be told."""
    called = {event.data.call: event.data for event in events if isinstance(event.data, LlmCalled)}
    waiting = [event for event in events if not isinstance(event.data, LlmReserved)]
    waiting.reverse()  # the next one last
    told: set[int] = set()
    notes: list[str] = []

    def tell_until(time: datetime | None) -> None:
        while waiting and (time is None or waiting[-1].time <= time):
            event = waiting.pop()
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
    lost = [event for event in events if isinstance(event.data, LlmCalled) and event.data.call not in told]
    for event in lost:
        spool.put(RUN, _unrecorded(event))
    if lost:
        notes.append(f"{len(lost)} calls stand in the ledger alone: what was said in them was not recorded, or cannot be read")
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


def _last_attempt(events: Iterable[Event]) -> tuple[int, list[str], list[Event], Graded | None]:
    """Return the number of attempts, why the earlier ones ended, the events of the last one and the newest grade."""
    attempts, grade = 1, None
    earlier: list[str] = []
    last: list[Event] = []
    for event in events:
        match event.data:
            case Entered(state=RunState.QUEUED, why=why) if last:
                earlier.append(f"attempt {attempts} ended, and another was begun: {why or 'no reason was recorded'}")
                attempts, last = attempts + 1, []
            case Graded() as said:
                grade = said
        last.append(event)
    return attempts, earlier, last, grade


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
