"""A run's trajectory as others read it: every case goes through ATIF's own models."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.export.atif import Story, write_trajectory
from harness.spec.agent import AgentConfig
from harness.spec.budget import Budget
from harness.spec.event import (
    AgentExited,
    AgentStarted,
    ClockStarted,
    Ended,
    Entered,
    Event,
    Executed,
    FileMoved,
    Noted,
    Payload,
    Submitted,
    Validated,
)
from harness.spec.outcome import Cause, Outcome, RunState
from harness.spec.run import AgentRef, BaseModelRef, RunSpec, TaskRef
from harness.spec.submission import SubmissionReport
from harness.spec.task import Generation, Limits

atif = pytest.importorskip("atif", reason="ATIF's own models (pip install atif)")
START = datetime(2026, 1, 1, tzinfo=UTC)


def spec(**changes: Any) -> RunSpec:
    return RunSpec(
        **{
            "id": "r20260101-000000-aaaaa",
            "batch": "b1",
            "agent": AgentRef(config=AgentConfig(name="base", command=("true",)), digest="a"),
            "task": TaskRef(id="math/aime25", profile="mini", digest="t", data_digest="d"),
            "base_model": BaseModelRef(name="smol", digest="m"),
            "seed": 0,
            "budget": Budget(wall=60.0),
            "limits": Limits(),
            "generation": Generation(),
            "sandbox": "scripted",
            **changes,
        }
    )


def events(*payloads: Payload) -> list[Event]:
    """Number payloads, one a second."""
    return [
        Event(seq=number, time=START + timedelta(seconds=number), elapsed_s=number, kind=payload.kind, data=payload)
        for number, payload in enumerate(payloads)
    ]


def told(folder: Path, *payloads: Payload, **more: Any) -> dict[str, Any]:
    """Write a trajectory, hold it against ATIF's models and return it."""
    path = folder / "trajectory.json"
    write_trajectory(path, Story(spec(), events(*payloads), **more))
    found = json.loads(path.read_text())
    atif.Trajectory.model_validate(found)
    return found


WHOLE = (
    Entered(state=RunState.QUEUED),
    Entered(state=RunState.RUNNING),
    ClockStarted(),
    AgentStarted(process="1"),
    Executed(argv=("bash", "-lc", "ls"), stdout="a.txt\n", stderr="odd\n", exit_code=2, duration_s=0.25),
    FileMoved(op="write", path="/workspace/x", bytes=3),
    Noted(text="trying lr 1e-4", data={"lr": 1e-4}),
    Validated(path="/workspace/model", report=SubmissionReport(ok=True, kind="base")),
    Submitted(submission=1, digest="0123", answer={"submission": 1}),
    AgentExited(exit_code=0),
    Ended(cause=Cause.COMPLETED, phase="agent", message="the agent ended"),
)


def test_an_agent_without_a_backbone_is_told_by_what_it_did(tmp_path: Path) -> None:
    found = told(tmp_path, *WHOLE, outcome=Outcome(cause=Cause.COMPLETED, phase="agent"))
    calls = [step["tool_calls"][0]["function_name"] for step in found["steps"] if "tool_calls" in step]
    assert calls == ["exec", "file_write", "validate", "submit"]
    ran = next(step for step in found["steps"] if "tool_calls" in step)
    assert ran["llm_call_count"] == 0
    assert ran["tool_calls"][0]["arguments"] == {"argv": ["bash", "-lc", "ls"]}
    assert ran["observation"]["results"][0]["content"] == "a.txt\n[stderr]\nodd\n[exit code 2, 0.2 s]"
    assert [step["message"] for step in found["steps"] if step["source"] == "agent" and step["message"]] == ["trying lr 1e-4"]
    assert "math/aime25" in found["steps"][0]["message"]
    assert found["extra"]["outcome"]["cause"] == "completed"


def test_only_the_last_attempt_is_told_and_the_ends_of_earlier_ones(tmp_path: Path) -> None:
    again = Entered(state=RunState.QUEUED, attempt=2, why="the sandbox died")
    found = told(tmp_path, Entered(state=RunState.QUEUED), Noted(text="first"), again, Noted(text="second"))
    messages = [step["message"] for step in found["steps"]]
    assert "second" in messages and "first" not in messages
    assert any("the sandbox died" in message for message in messages)


def test_long_outputs_keep_their_ends_and_say_what_is_missing(tmp_path: Path) -> None:
    found = told(tmp_path, Executed(argv=("cat", "log"), stdout="A" * 400_000 + "Z"))
    content = found["steps"][1]["observation"]["results"][0]["content"]
    assert len(content) < 21_000
    assert content.startswith("AAA") and "characters left out" in content and "Z\n[exit code 0" in content


def test_a_trajectory_is_its_owners_and_no_rest_of_it_stays_behind(tmp_path: Path) -> None:
    told(tmp_path, *WHOLE)
    assert (tmp_path / "trajectory.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["trajectory.json"]


def test_a_run_without_events_has_a_trajectory_without_steps(tmp_path: Path) -> None:
    assert told(tmp_path)["steps"] == []
