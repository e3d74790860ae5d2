"""A recorded talk of every wire format, through the gateway's own recording, as a trajectory and as a log."""

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from harness.export.atif import Story, write_trajectory
from harness.export.llm_log import LlmLog
from harness.gateway.dialogue import (
    Ask,
    Finish,
    Message,
    Reply,
    Text,
    TextPiece,
    TokenUsage,
    Tool,
    ToolCall,
    ToolPiece,
    ToolResult,
    ToolStart,
)
from harness.gateway.formats import FORMATS
from harness.gateway.recording import Exchange, Recording
from harness.spec.backbone import BackboneRef, FormatName
from harness.spec.event import AgentStarted, Ended, Entered, Event, LlmCalled, LlmRefused, LlmReserved, Submitted
from harness.spec.outcome import Cause, RunState
from tests.unit.export.test_trajectory import START, spec

atif = pytest.importorskip("atif", reason="ATIF's own models (pip install atif)")
BASH = Tool("bash", "runs a command", {"type": "object", "properties": {"command": {"type": "string"}}})
REPLIES = (
    Reply((Text("I look."), ToolCall("call_1", "bash", '{"command": "ls"}')), "tools", TokenUsage(1000, 20, cached=800), "m-1"),
    Reply((ToolCall("call_2", "bash", '{"command": "dojo-tool submit out"}'),), "tools", TokenUsage(1100, 10), "m-1"),
    Reply((Text("done"),), "end", TokenUsage(1200, 5), "m-1"),
)
RESULTS = (ToolResult("call_1", "bash", (Text("a.txt"),)), ToolResult("call_2", "bash", (Text('{"submission": 1}'),)))


def dialogue() -> list[tuple[Ask, Reply]]:
    """Return the calls of an agent that looks, hands in and stops."""
    said = [Message("system", (Text("be good"),)), Message("user", (Text("fine-tune it"),))]
    calls = []
    for number, reply in enumerate(REPLIES):
        calls.append((Ask("m", tuple(said), (BASH,), max_output=100), reply))
        if number < len(RESULTS):
            said = [*said, Message("assistant", reply.parts), Message("user", (RESULTS[number],))]
    return calls


def answer(format_: FormatName, ask: Ask, reply: Reply, stream: bool) -> bytes:
    """Write an answer as an upstream would."""
    if not stream:
        return json.dumps(FORMATS[format_].render_reply(reply, ask)).encode()
    encoder = FORMATS[format_].encoder(ask)
    data = encoder.start()
    for number, part in enumerate(reply.parts):
        match part:
            case Text(text):
                data += encoder.feed(TextPiece(text))
            case ToolCall(call_id, name, arguments):
                data += encoder.feed(ToolStart(number, call_id, name)) + encoder.feed(ToolPiece(number, arguments))
    return data + encoder.feed(Finish(reply.stop, reply.usage, reply.model))


def recorded(folder: Path, format_: FormatName, stream: bool = False) -> tuple[Recording, list[Event]]:
    """Record the dialogue; return the recording and the run's events."""
    recording = Recording(folder / "llm")
    events: list[Event] = []

    def happens(seconds: float, payload: Any) -> None:
        event = Event(
            seq=len(events), time=START + timedelta(seconds=seconds), elapsed_s=seconds, kind=payload.kind, data=payload
        )
        events.append(event)

    happens(0, Entered(state=RunState.QUEUED))
    happens(1, AgentStarted(process="1"))
    for number, (ask, reply) in enumerate(dialogue(), start=1):
        begun = number * 60
        happens(begun, LlmReserved(call=number, tokens=5000))
        recording.write(
            number,
            Exchange(
                call=number, request=f"h{number}", time=START + timedelta(seconds=begun), elapsed_s=begun, format=format_,
                path="/v1", body=FORMATS[format_].render(ask), stream=stream, status=200,
                answer=answer(format_, ask, reply, stream), reply=reply,
            ),
        )  # fmt: skip
        usage = reply.usage
        happens(
            begun + 5,
            LlmCalled(
                call=number, format=format_, asked="m", served="m-1", status=200, stop=reply.stop, latency_s=5.0, first_s=1.0,
                input_tokens=usage.input, output_tokens=usage.output, cached_tokens=usage.cached, tokens=1020, dollars=0.25,
            ),
        )  # fmt: skip
        if number == 2:
            happens(begun + 7, Submitted(submission=1, digest="01", answer={"submission": 1}))
    happens(300, LlmRefused(format=format_, asked="m", status=429, error="budget_exceeded", message="tokens are spent"))
    happens(301, Ended(cause=Cause.COMPLETED, phase="agent"))
    return recording, events


def told(folder: Path, events: list[Event], exchanges: Any) -> Mapping[str, Any]:
    path = folder / "trajectory.json"
    backbone = BackboneRef(name="b", upstream="openai", model="m")
    write_trajectory(path, Story(spec(backbone=backbone), events, exchanges=exchanges))
    found = json.loads(path.read_text())
    atif.Trajectory.model_validate(found)
    return found


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format_", get_args(FormatName))
def test_a_talk_of_every_format_is_told_alike(tmp_path: Path, format_: FormatName, stream: bool) -> None:
    recording, events = recorded(tmp_path, format_, stream)
    found = told(tmp_path, events, recording.read())
    assert "notes" not in found, found["notes"]
    steps = found["steps"]
    assert [(s["source"], s["message"]) for s in steps][1:] == [
        ("system", "the agent program runs"),
        ("system", "be good"),
        ("user", "fine-tune it"),
        ("agent", "I look."),
        ("agent", ""),
        ("agent", "done"),
        ("system", "the gateway refused a call: budget_exceeded (429): tokens are spent"),
        ("system", "the run ended: completed in phase agent: "),
    ]
    looked, handed_in = steps[4], steps[5]
    assert looked["tool_calls"][0]["arguments"] == {"command": "ls"}
    assert looked["observation"]["results"][0]["content"] == "a.txt"
    assert looked["metrics"] == {"prompt_tokens": 1000, "completion_tokens": 20, "cached_tokens": 800, "cost_usd": 0.25}
    assert handed_in["extra"]["deeds"][0]["name"] == "submit"
    assert found["final_metrics"] == {
        "total_prompt_tokens": 3300,
        "total_completion_tokens": 35,
        "total_cached_tokens": 800,
        "total_cost_usd": 0.75,
        "total_steps": len(steps),
    }


@pytest.mark.parametrize("format_", get_args(FormatName))
def test_the_log_of_a_talk_says_what_is_new_of_each_call(tmp_path: Path, format_: FormatName) -> None:
    recording, events = recorded(tmp_path, format_)
    called = {event.data.call: event for event in events if isinstance(event.data, LlmCalled)}
    log = LlmLog()
    lines = list(log.recorded(recording.read(), called))
    assert [[(said.role, said.text) for said in line.new] for line in lines] == [
        [("system", "be good"), ("user", "fine-tune it")],
        [("tool", "a.txt")],
        [("tool", '{"submission": 1}')],
    ]
    assert [[said.text for said in line.answer] for line in lines][2] == ["done"]
    assert [said.tool for said in lines[0].answer] == ["", "bash"]
    assert (lines[0].input_tokens, lines[0].dollars, lines[0].talk) == (1000, 0.25, "talk-1")
    assert not list(log.recorded(recording.read(), called)) and not list(log.unrecorded(called))


def test_a_damaged_recording_is_told_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    recording, events = recorded(tmp_path, "chat")
    calls = tmp_path / "llm/calls.jsonl"
    lines = calls.read_bytes().splitlines(keepends=True)
    calls.write_bytes(lines[0] + b'{"call": 2, garbage\n' + lines[2][:40])
    found = told(tmp_path, events, recording.read())
    agent = [step for step in found["steps"] if step["source"] == "agent"]
    assert agent[0]["message"] == "I look." and agent[0]["metrics"]["prompt_tokens"] == 1000
    lost = [step for step in agent if step["extra"].get("recorded") is False]
    assert [step["metrics"]["prompt_tokens"] for step in lost] == [1100, 1200]
    assert "2 calls stand in the ledger alone" in found["notes"]


def test_a_recording_that_breaks_off_in_reading_costs_nothing_that_was_read(tmp_path: Path) -> None:
    recording, events = recorded(tmp_path, "messages")

    def breaking() -> Any:
        yield next(iter(recording.read()))
        raise OSError("the disk is gone")

    found = told(tmp_path, events, breaking())
    assert "the disk is gone" in found["notes"] and any(step["message"] == "I look." for step in found["steps"])
    assert any("submit" in json.dumps(step.get("extra")) for step in found["steps"])


def test_what_the_record_was_too_full_for_is_told_by_the_ledger(tmp_path: Path) -> None:
    recording, events = recorded(tmp_path, "chat")
    empty = [exchange for exchange in recording.read() if exchange.call == 1]
    found = told(tmp_path, events, empty)
    assert sum(step["extra"].get("recorded") is False for step in found["steps"] if step["source"] == "agent") == 2
