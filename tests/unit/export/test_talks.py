"""How the calls of an agent become conversations: histories repeat, run side by side and are rewritten."""

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harness.export.spool import Spool
from harness.export.steps import deed
from harness.export.talks import Talks
from harness.export.turns import Turn
from harness.gateway.dialogue import Ask, Message, Reply, Text, Thinking, TokenUsage, Tool, ToolCall, ToolResult
from harness.spec.event import LlmCalled

START = datetime(2026, 1, 1, tzinfo=UTC)
BASH = Tool("bash", "runs a command", {"type": "object"})


def user(text: str) -> Message:
    return Message("user", (Text(text),))


def result(call_id: str, text: str) -> Message:
    return Message("user", (ToolResult(call_id, "bash", (Text(text),)),))


class Telling:
    """Calls put into a spool, a minute apart."""

    def __init__(self) -> None:
        self.spool = Spool(io.BytesIO())
        self.talks = Talks(self.spool)
        self.calls = 0

    def call(
        self, messages: list[Message], reply: Reply | None, tools: tuple[Tool, ...] = (BASH,), **changes: Any
    ) -> list[Message]:
        """Make a call and return the history that the agent has now."""
        self.calls += 1
        usage = reply.usage if reply else TokenUsage()
        called = LlmCalled(
            call=self.calls, status=200, input_tokens=usage.input, output_tokens=usage.output, latency_s=5.0, dollars=0.5
        )
        at = START + timedelta(minutes=self.calls)
        turn = Turn(self.calls, at, Ask("m", tuple(messages), tools), reply, called=called)
        self.talks.take(replace(turn, **changes))
        return [*messages, Message("assistant", reply.parts)] if reply else messages

    def steps(self, key: str = "talk-1") -> list[dict[str, Any]]:
        self.talks.end()
        return list(self.spool.steps(key))

    def said(self, key: str = "talk-1") -> list[tuple[str, str]]:
        return [(step["source"], step["message"]) for step in self.steps(key)]


@pytest.fixture
def telling() -> Iterator[Telling]:
    yield Telling()


def runs(call_id: str, command: str, text: str = "") -> Reply:
    said = (Text(text),) if text else ()
    return Reply((*said, ToolCall(call_id, "bash", f'{{"command": "{command}"}}')), "tools", TokenUsage(100, 10, cached=50))


def test_a_history_that_is_sent_again_with_every_call_is_told_once(telling: Telling) -> None:
    talk = telling.call([Message("system", (Text("be good"),)), user("fix it")], runs("c1", "ls", "I look."))
    talk = telling.call([*talk, result("c1", "a.txt")], runs("c2", "cat a.txt"))
    telling.call([*talk, result("c2", "hello")], Reply((Text("done"),)))
    steps = telling.steps()
    assert [(step["source"], step["message"]) for step in steps] == [
        ("system", "be good"),
        ("user", "fix it"),
        ("agent", "I look."),
        ("agent", ""),
        ("agent", "done"),
    ]
    looked = steps[2]
    assert looked["tool_calls"] == [{"tool_call_id": "c1", "function_name": "bash", "arguments": {"command": "ls"}}]
    assert looked["observation"]["results"] == [{"source_call_id": "c1", "content": "a.txt"}]
    assert looked["metrics"] == {"prompt_tokens": 100, "completion_tokens": 10, "cost_usd": 0.5}
    assert looked["extra"]["latency_s"] == 5.0
    assert looked["timestamp"] == (START + timedelta(minutes=1, seconds=5)).isoformat()


def test_words_said_twice_by_a_user_are_told_twice(telling: Telling) -> None:
    talk = telling.call([user("go on")], Reply((Text("one"),)))
    telling.call([*talk, user("go on")], Reply((Text("two"),)))
    assert telling.said() == [("user", "go on"), ("agent", "one"), ("user", "go on"), ("agent", "two")]


def test_a_reply_that_the_agent_keeps_in_other_words_is_not_told_again(telling: Telling) -> None:
    telling.call([user("go")], Reply((Thinking("hm"), Text("  I think: one\n"))), tools=())
    telling.call([user("go"), Message("assistant", (Text("one"),)), user("and?")], Reply((Text("two"),)), tools=())
    assert [said for said in telling.said() if said[0] == "agent"] == [("agent", "  I think: one\n"), ("agent", "two")]
    assert telling.steps()[1]["reasoning_content"] == "hm"


def test_a_title_made_on_the_side_is_a_conversation_of_its_own(telling: Telling) -> None:
    main = telling.call([user("fix the failing test")], runs("c1", "ls"))
    telling.call([Message("system", (Text("make a title"),)), user("fix the failing test")], Reply((Text("Fixing"),)), tools=())
    telling.call([*main, result("c1", "x")], Reply((Text("done"),)))
    assert [said for said in telling.said("talk-1")] == [("user", "fix the failing test"), ("agent", ""), ("agent", "done")]
    assert ("agent", "Fixing") in telling.said("talk-2")
    main_talk = telling.talks.main()
    assert main_talk is not None and main_talk.key == "talk-1"


def test_sub_agents_that_talk_in_turns_are_kept_apart_and_named_by_the_call_that_began_them(telling: Telling) -> None:
    task = Tool("task", "starts a helper", {"type": "object"})
    first, second = "find all the data files in here", "find all the model files in here"
    calls = tuple(ToolCall(f"t{n}", "task", f'{{"prompt": "{prompt}"}}') for n, prompt in enumerate((first, second), start=1))
    main = telling.call([user("do it all")], Reply(calls, "tools"), tools=(BASH, task))
    one = telling.call([user(first)], runs("a", "ls data"))
    two = telling.call([user(second)], runs("b", "ls model"))
    telling.call([*one, result("a", "data.txt")], Reply((Text("found data"),)))
    telling.call([*two, result("b", "model.bin")], Reply((Text("found model"),)))
    results = Message("user", (ToolResult("t1", "task", (Text("found data"),)), ToolResult("t2", "task", (Text("found model"),))))
    telling.call([*main, results], Reply((Text("done"),)), tools=(BASH, task))
    assert telling.said("talk-2") == [("user", first), ("agent", ""), ("agent", "found data")]
    assert telling.said("talk-3") == [("user", second), ("agent", ""), ("agent", "found model")]
    refs = [found["subagent_trajectory_ref"] for found in telling.steps()[1]["observation"]["results"]]
    assert refs == [[{"trajectory_id": "talk-2"}], [{"trajectory_id": "talk-3"}]]


def test_a_history_that_was_summed_up_goes_on_in_the_same_conversation(telling: Telling) -> None:
    talk = telling.call([user("fix it")], runs("c1", "ls"))
    talk = telling.call([*talk, result("c1", "a")], Reply((Text("so far so good"),)))
    fresh = telling.call([user("Summary: you listed files.")], runs("c2", "pwd"))
    telling.call([*fresh, result("c2", "/workspace")], Reply((Text("done"),)))
    said = telling.said()
    assert said.count(("user", "fix it")) == 1 and said.count(("user", "Summary: you listed files.")) == 1
    assert said[-1] == ("agent", "done") and len(telling.talks.talks) == 1


def test_results_that_an_agent_clears_later_are_not_told_as_new(telling: Telling) -> None:
    talk = telling.call([user("go")], runs("c1", "ls"))
    talk = telling.call([*talk, result("c1", "long " * 100)], runs("c2", "pwd"))
    talk[2] = result("c1", "[cleared]")
    telling.call([*talk, result("c2", "/")], Reply((Text("done"),)))
    assert [step["source"] for step in telling.steps()] == ["user", "agent", "agent", "agent"]


def test_a_reminder_that_moves_on_with_the_last_message_is_told_once(telling: Telling) -> None:
    reminder = Text("remember your list")
    talk = telling.call([Message("user", (Text("go"), reminder))], runs("c1", "ls"))
    moved = [user("go"), talk[1], Message("user", (ToolResult("c1", "bash", (Text("a"),)), reminder))]
    telling.call(moved, Reply((Text("done"),)))
    steps = telling.steps()
    assert [step["message"] for step in steps] == ["go\nremember your list", "", "done"]
    assert steps[1]["observation"]["results"][0]["content"] == "a"


def test_the_same_request_made_again_adds_an_answer_and_no_request(telling: Telling) -> None:
    telling.call([user("write a poem")], Reply((Text("roses"),)), tools=())
    telling.call([user("write a poem")], Reply((Text("violets"),)), tools=())
    assert telling.said() == [("user", "write a poem"), ("agent", "roses"), ("agent", "violets")]


def test_a_call_without_an_answer_is_told_as_a_failure(telling: Telling) -> None:
    telling.call([user("go")], None, status=529, called=LlmCalled(call=1, status=529, error="upstream_broken"))
    assert telling.said() == [("user", "go"), ("system", "call 1 failed with status 529: upstream_broken")]


def test_what_nobody_can_read_of_a_request_does_not_lose_the_answer(telling: Telling) -> None:
    telling.call([], Reply((Text("an answer"),)), ask=None)
    assert telling.said() == [("agent", "an answer")]


def test_a_deed_stands_in_the_step_whose_tool_did_it(telling: Telling) -> None:
    talk = telling.call([user("go")], runs("c1", "dojo-tool submit out"))
    assert telling.talks.attach(deed(START, "event-7", "submit", {"note": ""}, "{}", event=7))
    telling.call([*talk, result("c1", "ok")], Reply((Text("done"),)))
    assert not telling.talks.attach(deed(START, "event-8", "submit", {"note": ""}, "{}", event=8))
    deeds = [step["extra"].get("deeds") for step in telling.steps() if step["source"] == "agent"]
    assert deeds == [[{"name": "submit", "arguments": {"note": ""}, "result": "{}", "event": 7}], None]


def test_arguments_that_are_no_object_are_kept_as_they_are(telling: Telling) -> None:
    telling.call([user("go")], Reply((ToolCall("", "patch", "*** Begin"),), "tools"))
    call = telling.steps()[1]["tool_calls"][0]
    assert call == {"tool_call_id": "call-1-1", "function_name": "patch", "arguments": {"input": "*** Begin"}}


def test_words_put_into_the_models_mouth_are_marked_as_copied(telling: Telling) -> None:
    telling.call([user("2+2?"), Message("assistant", (Text("4"),)), user("3+3?")], Reply((Text("6"),)), tools=())
    steps = telling.steps()
    assert [step["message"] for step in steps] == ["2+2?", "4", "3+3?", "6"]
    assert steps[1]["is_copied_context"] is True and "metrics" not in steps[1]
