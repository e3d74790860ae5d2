"""Scripts of replies: whose turn it is, what errors they give, and which tool a command goes to."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.gateway.dialogue import Ask, Message, Text, TokenUsage, Tool, ToolCall, ToolResult
from harness.gateway.formats import FORMATS
from harness.gateway.upstreams import scripted as scripted_module
from harness.gateway.upstreams import speaking
from harness.gateway.upstreams.asking import ask, small_call, whole
from harness.gateway.upstreams.base import Call, UpstreamFailed
from harness.gateway.upstreams.script import Script, read_script
from harness.gateway.upstreams.scripted import ScriptedUpstream
from harness.gateway.upstreams.shell_tool import shell_call
from harness.spec.backbone import FormatName
from harness.spec.errors import MissingError, SpecError

TEXT = {"type": "string"}
BASH = Tool("bash", "runs", {"type": "object", "properties": {"command": TEXT}, "required": ["command"]})


def upstream(**script: Any) -> ScriptedUpstream:
    return ScriptedUpstream(Script.model_validate(script), "s.toml")


def asked(turns: int = 0, newest: str = "go", tools: tuple[Tool, ...] = (BASH,)) -> Ask:
    said: list[Message] = []
    for turn in range(turns):
        said += [Message("user", (Text("go"),)), Message("assistant", (ToolCall(f"c{turn}", "bash", "{}"),))]
        said.append(Message("user", (ToolResult(f"c{turn}", "bash", (Text("seen"),)),)))
    return Ask("m", (*said, Message("user", (Text(newest),))), tools)


def call_of(question: Ask, number: int = 1, format: FormatName = "chat") -> Call:
    body = FORMATS[format].render(question)
    return replace(small_call(format, "m", stream=question.stream), body=body, number=number)


REPLIES = [{"text": "one"}, {"text": "two"}, {"text": "help", "when": "no sp.ce"}, {"text": "three"}]


@pytest.mark.parametrize(
    ("order", "question", "number", "reply"),
    [
        ("dialogue", asked(0), 9, "one"),
        ("dialogue", asked(1), 1, "two"),
        ("dialogue", asked(2), 1, "three"),
        ("dialogue", asked(3), 1, "over"),
        ("calls", asked(0), 2, "two"),
        ("calls", asked(2), 1, "one"),
        ("calls", asked(0), 4, "over"),
        ("dialogue", asked(1, "there is no space left"), 1, "help"),
        ("dialogue", asked(1, "no space", tools=()), 1, "help"),
        ("dialogue", asked(1, tools=()), 1, "a title"),
    ],
)
def test_the_order_says_whose_turn_it_is(order: str, question: Ask, number: int, reply: str) -> None:
    found = upstream(order=order, replies=REPLIES, otherwise="a title", last="over").reply_for(question, number)
    assert found.text == reply


def test_without_otherwise_a_call_without_tools_gets_its_turn_and_without_last_it_is_done() -> None:
    plain = upstream(replies=REPLIES)
    assert plain.reply_for(asked(1, tools=()), 1).text == "two"
    assert plain.reply_for(asked(5), 1).text == "done"


def failure_of(open: ScriptedUpstream, call: Call) -> UpstreamFailed:
    with pytest.raises(UpstreamFailed) as caught:
        asyncio.run(open.send(call))
    return caught.value


def test_an_error_is_given_so_many_times_to_each_call() -> None:
    open = upstream(replies=[{"status": 429, "times": 2, "retry_after_s": 3, "text": "here"}])
    for number in (1, 2):
        call = call_of(asked(), number)
        for _ in range(2):
            failed = failure_of(open, call)
            assert (failed.kind, failed.status, failed.retry_after_s) == ("busy", 429, 3)
        assert asyncio.run(ask(open, call)).parts == (Text("here"),)


def test_usage_is_counted_reported_or_left_out() -> None:
    def usage(**reply: Any) -> TokenUsage:
        return asyncio.run(ask(upstream(replies=[{"text": "12345678", **reply}]), call_of(asked()))).usage

    assert usage().output == 2
    assert (usage(usage={"input": 9, "output": 4}).input, usage(usage={"input": 9, "output": 4}).output) == (9, 4)
    assert not usage(usage=False).known


@pytest.mark.parametrize("stream", [False, True])
def test_raw_is_the_body_as_it_is(stream: bool) -> None:
    open = upstream(replies=[{"raw": "<html>"}])
    assert asyncio.run(whole(asyncio.run(open.send(call_of(replace(asked(), stream=stream)))))) == b"<html>"
    assert failure_of(upstream(replies=[{"raw": "<html>", "status": 502}]), call_of(asked())).body == b"<html>"


def test_delays_come_before_the_first_and_the_last_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[Any] = []

    async def sleep(seconds: float) -> None:
        happened.append(seconds)

    monkeypatch.setattr(scripted_module.asyncio, "sleep", sleep)
    assert speaking.asyncio is scripted_module.asyncio

    async def read() -> None:
        open = upstream(replies=[{"text": "a b", "first_delay_s": 5, "delay_s": 70}])
        answer = await open.send(call_of(replace(asked(), stream=True)))
        happened.append("answered")
        async for _ in answer.body:
            happened.append("piece")

    asyncio.run(read())
    assert happened[:3] == [5, "answered", "piece"] and happened[-2:] == [70, "piece"]


def tool(name: str, required: tuple[str, ...] = (), **properties: Any) -> Tool:
    return Tool(name, "", {"type": "object", "properties": properties, "required": list(required)})


LIST = {"type": "array", "items": TEXT}


@pytest.mark.parametrize(
    ("offered", "name", "arguments"),
    [
        (tool("Bash", ("command",), command=TEXT, timeout={"type": "number"}), "Bash", {"command": "ls"}),
        (tool("shell", ("command",), command=LIST, workdir=TEXT), "shell", {"command": ["bash", "-lc", "ls"]}),
        (tool("exec_command", ("cmd",), cmd=TEXT, yield_time_ms={"type": "number"}), "exec_command", {"cmd": "ls"}),
        (tool("run_shell_command", ("command",), command=TEXT, directory=TEXT), "run_shell_command", {"command": "ls"}),
        (
            tool("bash", ("command", "description"), command=TEXT, description=TEXT),
            "bash",
            {"command": "ls", "description": "a step of the script"},
        ),
        (
            tool(
                "terminal", ("command", "security_risk"), command=TEXT, security_risk={"type": "string", "enum": ["LOW", "HIGH"]}
            ),
            "terminal",
            {"command": "ls", "security_risk": "LOW"},
        ),
        (tool("shell", (), command={"anyOf": [LIST, {"type": "null"}]}), "shell", {"command": ["bash", "-lc", "ls"]}),
    ],
    ids=["claude code", "codex of old", "codex", "gemini cli", "opencode", "openhands", "a list or nothing"],
)
def test_a_command_goes_to_the_tool_that_runs_commands(offered: Tool, name: str, arguments: Any) -> None:
    others = (
        tool("read_file", ("path",), path=TEXT),
        tool("run_tests_in_bash", (), command=TEXT),
        tool("bash_output", (), id=TEXT),
    )
    found = shell_call((*others, offered) if name in ("bash", "shell", "terminal") else (others[0], others[2], offered), "ls")
    assert found is not None
    assert (found[0], json.loads(found[1])) == (name, arguments)


def test_without_tools_a_command_is_a_bash_block_and_with_none_that_fits_an_error() -> None:
    open = upstream(replies=[{"text": "Look.", "shell": "ls"}])
    assert asyncio.run(ask(open, call_of(asked(tools=())))).parts == (Text("Look.\n\n```bash\nls\n```"),)
    failed = failure_of(open, call_of(asked(tools=(tool("read_file", (), path=TEXT),))))
    assert failed.kind == "refused" and "read_file" in failed.message


@pytest.mark.parametrize("format", ["chat", "responses", "messages", "google"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_is_said_in_each_format_whole_and_streamed(format: FormatName, stream: bool) -> None:
    open = upstream(replies=[{"text": "Look at this.", "shell": "ls"}])
    reply = asyncio.run(ask(open, call_of(replace(asked(), stream=stream), 1, format)))
    text, called = reply.parts
    assert text == Text("Look at this.") and isinstance(called, ToolCall) and reply.stop == "tools"
    assert (called.name, json.loads(called.arguments)) == ("bash", {"command": "ls"})


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("s.toml", "order = ", "not valid TOML"),
        ("s.toml", 'order = "random"', "order"),
        ("s.toml", '[[replies]]\nwhen = "("', "no regular expression"),
        ("s.toml", "[[replies]]\nstatus = 302", "3xx"),
        ("s.toml", "[[replies]]\ntimes = 1", "times is for"),
        ("s.jsonl", '{"text": "a"}\n{', "line 2: not valid JSON"),
        ("s.jsonl", "[1]", "is no object"),
    ],
)
def test_a_script_that_is_none_says_where(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SpecError, match=words) as caught:
        read_script(tmp_path / name)
    assert name in caught.value.message


def test_a_script_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"none\.toml"):
        read_script(tmp_path / "none.toml")
