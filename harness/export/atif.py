"""A run as an ATIF 1.8 trajectory (Harbor's Agent Trajectory Interchange Format), written step by step.

Everything in it is the harness's own record: the run's events and, where the run had a backbone, the gateway's recording.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from harness.export.deeds import deed_of, happening_of
from harness.export.spool import Spool
from harness.export.steps import system
from harness.files import sync_directory
from harness.spec.event import Entered, Event, Graded
from harness.spec.measured import budget_words
from harness.spec.outcome import Outcome, RunState
from harness.spec.run import RunSpec

VERSION = "ATIF-v1.8"
# The conversation that the run is about; others are side conversations.
MAIN = "main"


@dataclass(frozen=True)
class Story:
    """What a trajectory is made of.

    Attributes:
        events: of the run, all attempts; the steps are those of the last one.
        outcome: how it ended; None while it goes on.
    """

    spec: RunSpec
    events: Iterable[Event]
    outcome: Outcome | None = None


def write_trajectory(path: Path, story: Story) -> None:
    """Write a run's trajectory, whole or not at all. Readable to its owner only, as a recorded talk is.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        with Spool(tempfile.TemporaryFile(dir=path.parent)) as spool, partial.open("w", encoding="utf-8") as out:
            partial.chmod(0o600)
            _write(out, _tell(spool, story), spool)
            out.flush()
        partial.rename(path)
        sync_directory(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def _tell(spool: Spool, story: Story) -> dict[str, Any]:
    """Put all steps into ``spool`` and return the trajectory without them."""
    spec = story.spec
    attempts, earlier, events, grade = _last_attempt(story.events)
    if events:
        spool.put(MAIN, system(events[0].time, _opening(spec), **({"attempt": attempts} if attempts > 1 else {})))
    for why in earlier:
        spool.put(MAIN, system(events[0].time, why))
    for event in events:
        draft = deed_of(event) or happening_of(event)
        if draft is not None:
            spool.put(MAIN, draft)
    outcome = story.outcome.model_dump(mode="json") if story.outcome else None
    extra = {
        "dojo_run": spec.id,
        "task": spec.task.id,
        "profile": spec.task.profile,
        "base_model": spec.base_model.name,
        "seed": spec.seed,
        "sandbox": spec.sandbox,
        "dojo_version": spec.versions.get("dojo", ""),
        "outcome": outcome,
        "score": grade.scores.primary.model_dump(mode="json") if grade else None,
    }
    return {
        "schema_version": VERSION,
        "session_id": spec.id,
        "trajectory_id": spec.id,
        "agent": {"name": spec.agent.name, "version": spec.agent.config.version, "extra": {"digest": spec.agent.digest}},
        "extra": {key: value for key, value in extra.items() if value not in (None, "")},
    }


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


def _write(out: IO[str], head: dict[str, Any], spool: Spool) -> None:
    """Write ``head`` with the main conversation's steps, each on a line of its own."""
    total = spool.count(MAIN)
    notes = [f"{spool.left_out} steps were left out for size; events.jsonl has them"] if spool.left_out else []
    tail: dict[str, Any] = {"final_metrics": {"total_steps": total}}
    if notes:
        tail["notes"] = "; ".join(notes)
    out.write("{\n")
    for key, value in head.items():
        out.write(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)},\n")
    out.write('"steps": [\n')
    _write_steps(out, spool.steps(MAIN))
    out.write("],\n")
    out.write(",\n".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in tail.items()))
    out.write("\n}\n")


def _write_steps(out: IO[str], steps: Iterator[dict[str, Any]]) -> None:
    separator = ""
    for step in steps:
        out.write(separator + json.dumps(step, ensure_ascii=False))
        separator = ",\n"
    out.write("\n")
