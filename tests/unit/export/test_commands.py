"""What of a trajectory can be run again."""

from pathlib import Path
from typing import Any

import pytest

from harness.export.commands import Command, commands_of
from harness.export.replay import write_agent
from harness.export.steps import cut
from harness.project import bundled
from harness.spec.agent import load_agent_config
from harness.spec.errors import UsageError


def step(number: int, *calls: tuple[str, dict[str, Any]], message: str = "", **more: Any) -> dict[str, Any]:
    tools = [
        {"tool_call_id": f"c{n}", "function_name": name, "arguments": arguments} for n, (name, arguments) in enumerate(calls)
    ]
    return {"step_id": number, "source": "agent", "message": message, **({"tool_calls": tools} if tools else {}), **more}


def told(*steps: dict[str, Any]) -> list[Command]:
    return commands_of({"steps": list(steps)})


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (("bash", {"command": "ls"}), {"kind": "line", "line": "ls"}),
        (("Bash", {"command": "cd x", "description": "go"}), {"kind": "line", "line": "cd x", "session": "Bash"}),
        (("shell", {"command": ["ls", "-l"], "workdir": "/tmp"}), {"kind": "argv", "argv": ("ls", "-l"), "cwd": "/tmp"}),
        (("run_shell_command", {"command": "ls"}), {"kind": "line", "line": "ls"}),
        (("Write", {"file_path": "/workspace/a", "content": "x"}), {"kind": "write", "path": "/workspace/a", "text": "x"}),
        (
            ("Edit", {"file_path": "a", "old_string": "x", "new_string": "y"}),
            {"kind": "replace", "path": "a", "old": "x", "text": "y"},
        ),
        (("file_editor", {"command": "create", "path": "a", "file_text": "x"}), {"kind": "write", "path": "a", "text": "x"}),
        (
            ("apply_patch", {"input": "*** Begin"}),
            {"kind": "unplayable", "line": "apply_patch: a patch in a language of its own"},
        ),
    ],
)
def test_tools_of_common_agents_are_known(call: tuple[str, dict[str, Any]], expected: dict[str, Any]) -> None:
    assert [found.model_dump(exclude_defaults=True) for found in told(step(1, call))] == [{"step": "1", **expected}]


def test_tools_that_only_look_are_left_out() -> None:
    assert told(step(1, ("Read", {"file_path": "a"}), ("think", {"thought": "hm"}))) == []


def test_commands_written_as_text_are_found_where_there_are_no_tools() -> None:
    found = told(step(1, message="I look.\n\n```bash\nls -l\n```\nor\n```bash\nrm x\n```"), step(2, message="no block"))
    assert [command.line for command in found] == ["ls -l"]


def test_what_was_cut_in_recording_is_said_not_guessed() -> None:
    long = cut("x" * 200_000, 50_000)
    found = told(step(1, ("bash", {"command": long})), step(2, ("Write", {"path": "a", "content": long})))
    assert [command.kind for command in found] == ["unplayable", "unplayable"]
    event = {"tool_call_id": "event-4", "function_name": "exec", "arguments": {"argv": ["sh", "-c", "y" * 2000]}}
    assert told({"step_id": 1, "source": "agent", "message": "", "tool_calls": [event]})[0].kind == "unplayable"


def test_what_a_tool_did_through_the_agent_api_is_not_run_twice() -> None:
    deed = {"name": "exec", "arguments": {"argv": ["sh", "-c", "ls"]}, "result": "[exit code 0, 0.1 s]"}
    both = told(step(1, ("bash", {"command": "ls"}), extra={"deeds": [deed]}))
    assert [command.kind for command in both] == ["line"]
    own = told(step(1, ("look_around", {}), extra={"deeds": [deed]}))
    assert [(command.argv, command.exit_code) for command in own] == [(("sh", "-c", "ls"), 0)]


def test_sub_agents_commands_come_in_the_order_of_time() -> None:
    main = [step(1, ("bash", {"command": "one"}), timestamp="1"), step(2, ("bash", {"command": "three"}), timestamp="3")]
    side = {"trajectory_id": "talk-2", "steps": [step(1, ("bash", {"command": "two"}), timestamp="2")]}
    found = commands_of({"steps": main, "subagent_trajectories": [side]})
    assert [(command.line, command.step) for command in found] == [("one", "1"), ("two", "talk-2.1"), ("three", "2")]


def test_an_agent_is_made_that_is_named_by_its_folder(tmp_path: Path) -> None:
    template = bundled("agents") / "replay"
    write_agent(tmp_path / "once-more", template, [Command(kind="line", step="1", line="ls")], "r1")
    config = load_agent_config(tmp_path / "once-more/agent.toml")
    assert config.name == "once_more" and "r1" in config.description
    assert (tmp_path / "once-more/commands.jsonl").read_text() == '{"kind": "line", "step": "1", "line": "ls"}\n'
    with pytest.raises(UsageError, match="Not A Name"):
        write_agent(tmp_path / "Not A Name", template, [], "r1")
