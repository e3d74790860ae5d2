"""What a run's agent ran, taken from its trajectory, as commands that the agent `replay` can run again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from harness.spec.base import Spec

# Tools of common agents that run a command line, by their lower-case names.
_RUNNERS = re.compile(r"bash|shell|exec|terminal|run|command")
# Of these, the ones whose commands share a working directory and variables; others start each command anew.
_SESSIONS = {"Bash", "terminal", "execute_bash"}
_LINE = ("command", "cmd", "script", "code")
_PATH = ("path", "file_path", "filename", "filePath")
_CONTENT = ("content", "contents", "file_text", "new_file_content")
_OLD, _NEW = ("old_str", "old_string", "oldString"), ("new_str", "new_string", "newString")
_BLOCK = re.compile(r"```(?:bash|sh|shell|mswea_bash_command)\s*\n(.*?)```", re.DOTALL)
_CUT = re.compile(r"\[… [\d,]+ characters left out …\]")
# Parts of an argv are kept to this length in a run's events, and so many of them.
_KEPT_PART, _KEPT_PARTS = 2_000, 50
# What only ended a person's shell.
_LEAVING = re.compile(r"(?:exit|logout|finish)(?:\s+\d+)?\s*")


class Command(Spec):
    """One thing to do again. ``step`` is where in the trajectory it was done."""

    kind: Literal["line", "argv", "write", "replace", "unplayable"]
    step: str
    line: str = Field("", description="of `line`: for bash; of `unplayable`: what it was")
    session: str = Field("", description="of `line`: commands of one session share working directory and variables")
    argv: tuple[str, ...] = ()
    cwd: str = ""
    path: str = Field("", description="of `write` and `replace`")
    text: str = Field("", description="of `write`: the whole file; of `replace`: what is put there")
    old: str = Field("", description="of `replace`: what is replaced, once")
    exit_code: int | None = Field(None, description="when it was recorded, where that is known")


def commands_of(trajectory: Mapping[str, Any]) -> list[Command]:
    """Return what a trajectory's agent ran and wrote, sub-agents too, in the order of time."""
    steps = [(step.get("timestamp") or "", 0, step["step_id"], "", step) for step in trajectory["steps"]]
    for number, talk in enumerate(trajectory.get("subagent_trajectories") or (), start=1):
        prefix = f"{talk['trajectory_id']}."
        steps += [(step.get("timestamp") or "", number, step["step_id"], prefix, step) for step in talk["steps"]]
    steps.sort(key=lambda found: found[:3])
    return [command for *_, prefix, step in steps for command in _of_step(f"{prefix}{step['step_id']}", step)]


def _of_step(number: str, step: Mapping[str, Any]) -> Iterator[Command]:
    if step["source"] != "agent" or step.get("is_copied_context"):
        return
    calls = step.get("tool_calls") or ()
    found = [command for call in calls for command in _of_call(number, call, _result_of(step, call["tool_call_id"]))]
    deeds = (step.get("extra") or {}).get("deeds") or ()
    if not found:  # its tools are the agent program's own: what they did through the agent API tells
        found = [command for deed in deeds for command in _of_deed(number, deed)]
    if not found and not calls and (block := _BLOCK.search(step["message"])):
        found = [_line(number, block[1].strip())]
    yield from found


def _of_call(number: str, call: Mapping[str, Any], result: str) -> Iterator[Command]:
    name, arguments = call["function_name"], call["arguments"]
    if name == "exec" and "argv" in arguments and call["tool_call_id"].startswith("event-"):
        yield _argv(number, arguments["argv"], result)
    elif name == "shell" and call["tool_call_id"].startswith("event-"):
        if not _LEAVING.fullmatch(arguments["command"]):
            yield _line(number, arguments["command"], session=arguments["shell"], result=result)
    elif name == "file_write" and call["tool_call_id"].startswith("event-"):
        yield Command(
            kind="unplayable", step=number, line=f"wrote {arguments['path']} through the agent API: what is not recorded"
        )
    elif (path := _first(arguments, _PATH)) and (old := _first(arguments, _OLD)) is not None:
        new = _first(arguments, _NEW) or ""
        yield _whole(Command(kind="replace", step=number, path=path, old=old, text=new), old, new)
    elif path and (text := _first(arguments, _CONTENT)) is not None:
        yield _whole(Command(kind="write", step=number, path=path, text=text), text)
    elif _RUNNERS.search(name.lower()):
        yield from _of_runner(number, name, arguments)
    elif "patch" in name.lower():
        yield Command(kind="unplayable", step=number, line=f"{name}: a patch in a language of its own")


def _of_runner(number: str, name: str, arguments: Mapping[str, Any]) -> Iterator[Command]:
    said = next((arguments[key] for key in _LINE if key in arguments), arguments.get("input"))
    cwd = str(arguments.get("workdir") or arguments.get("cwd") or "")
    match said:
        case str(line) if line.strip():
            yield _line(number, line, session=name if name in _SESSIONS else "", cwd=cwd)
        case [*argv] if argv and all(isinstance(part, str) for part in argv):
            yield Command(kind="argv", step=number, argv=tuple(argv), cwd=cwd)


def _of_deed(number: str, deed: Mapping[str, Any]) -> Iterator[Command]:
    if deed["name"] == "exec":
        yield _argv(number, deed["arguments"]["argv"], deed["result"])
    elif deed["name"] == "file_write":
        path = deed["arguments"]["path"]
        yield Command(kind="unplayable", step=number, line=f"wrote {path} through the agent API: what is not recorded")


def _argv(number: str, argv: Iterable[str], result: str) -> Command:
    parts = tuple(argv)
    if len(parts) >= _KEPT_PARTS or any(len(part) >= _KEPT_PART for part in parts):
        return Command(kind="unplayable", step=number, line=f"{' '.join(parts)[:200]}: cut when it was recorded")
    return Command(kind="argv", step=number, argv=parts, exit_code=_exit_code(result))


def _line(number: str, line: str, session: str = "", cwd: str = "", result: str = "") -> Command:
    command = Command(kind="line", step=number, line=line, session=session, cwd=cwd, exit_code=_exit_code(result))
    return _whole(command, line)


def _whole(command: Command, *texts: str) -> Command:
    """Return the command, or that it cannot be played where a text of it was cut."""
    if any(_CUT.search(text) for text in texts):
        words = command.line[:200] or f"{command.kind} of {command.path}"
        return Command(kind="unplayable", step=command.step, line=f"{words}: cut when it was recorded")
    return command


def _result_of(step: Mapping[str, Any], call_id: str) -> str:
    results = (step.get("observation") or {}).get("results") or ()
    return next((str(found.get("content") or "") for found in results if found.get("source_call_id") == call_id), "")


def _exit_code(result: str) -> int | None:
    found = re.search(r"\[exit code (-?\d+)[^\]]*\]\s*(?:\[output was cut when it was recorded\])?$", result)
    return int(found[1]) if found else None


def _first(arguments: Mapping[str, Any], names: Iterable[str]) -> str | None:
    return next((arguments[name] for name in names if isinstance(arguments.get(name), str)), None)
