"""``dojo backbone answer``: a person or a program in the place of a run's language model."""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from harness.cli.base import Command, Invocation, LazyGroup, pass_invocation
from harness.cli.commands import BACKBONE
from harness.cli.complete import runs
from harness.cli.interrupt import INTERRUPTED
from harness.cli.output import Output
from harness.cli.sanitise import one_line, sanitise

if TYPE_CHECKING:
    from harness.service import Dojo

# People answer in minutes, programs in seconds: a look at a folder three times a second is soon enough for both.
_LOOK_S = 0.3
_SHOWN = 4000


@click.group(cls=LazyGroup, table=BACKBONE)
def backbone() -> None:
    """Answering by hand what a run's agent asks (runs submitted with `--backbone manual`)."""


@click.command("answer", cls=Command)
@click.argument("run", shell_complete=runs)
@click.option("--call", type=int, help="Which call to answer (default: the one that has waited longest).")
@click.option("--text", help="Answer with this text.")
@click.option("--shell", help="Answer with a call of the tool that runs commands.")
@click.option("--tool", metavar="NAME=JSON", multiple=True, help="Answer with a call of a tool, NAME={…arguments…}; repeatable.")
@click.option(
    "--file", type=click.Path(dir_okay=False, exists=True, path_type=Path), help="Answer with the reply in this JSON file."
)
@click.option("-f", "--follow", is_flag=True, help="Speak JSON lines: questions out, answers in, until the agent is done.")
@pass_invocation
def answer(
    invocation: Invocation,
    run: str,
    call: int | None,
    text: str | None,
    shell: str | None,
    tool: tuple[str, ...],
    file: Path | None,
    follow: bool,
) -> int:
    """Show what RUN's agent asks, or answer it.

    With --follow each question is a line {"call", "messages", "tools", …} on standard output, and each line on standard input an
    answer: a reply as in a script of replies with the number of its "call" (without one it answers what waits longest).
    """
    output, dojo = invocation.output, invocation.dojo()
    reply = _reply(text, shell, tool, file)
    if follow:
        if reply or call is not None:
            raise click.UsageError("--follow takes its answers from standard input, not from options")
        return _converse(dojo, run, output)
    waiting = dojo.questions(run)
    if not reply:
        shown = [question for question in waiting if call in (None, question.call)]
        output.result({"run": run, "waiting": shown}, _render_questions)
        return 0
    if call is None:
        if not waiting:
            from harness.spec.errors import NotFoundError

            raise NotFoundError(f"no call of {run} waits for an answer", hint="look again when its agent has asked something")
        call = waiting[0].call
    dojo.answer(run, call, reply)
    output.result({"run": run, "answered": call}, lambda data, out: out.line(f"answered call {data['answered']}"))
    return 0


def _reply(text: str | None, shell: str | None, tools: tuple[str, ...], file: Path | None) -> dict[str, Any]:
    if file is not None:
        if text is not None or shell is not None or tools:
            raise click.UsageError("--file holds the whole reply: leave --text, --shell and --tool out")
        try:
            read = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as exc:
            raise click.UsageError(f"{file} holds no JSON: {exc}") from exc
        if not isinstance(read, dict) or not read:
            raise click.UsageError(f'{file} holds no reply: write {{"text": "…"}}')
        return read
    reply: dict[str, Any] = {} if text is None else {"text": text}
    if shell is not None:
        reply["shell"] = shell
    calls = []
    for each in tools:
        name, equals, arguments = each.partition("=")
        try:
            calls.append({"name": name, "arguments": json.loads(arguments) if equals else {}})
        except ValueError as exc:
            raise click.UsageError(f"--tool {one_line(each, 80)}: after the = comes JSON: {exc}") from exc
    return reply | ({"tools": calls} if calls else {})


def _converse(dojo: Dojo, run: str, output: Output) -> int:
    """Questions out, answers in, until the agent phase is over, or nobody reads, or all answers that came are given."""
    lines: deque[str] = deque()
    closed, something = threading.Event(), threading.Event()
    threading.Thread(target=_read, args=(sys.stdin, lines, closed, something), daemon=True).start()
    told: set[tuple[int, str]] = set()
    unasked: deque[dict[str, Any]] = deque()
    try:
        while True:
            ended = closed.is_set()  # before the lines are looked at: none comes after it
            asking = dojo.thinking(run)
            for question in dojo.questions(run):
                if (question.call, question.error) not in told:  # again where its answer was none
                    told.add((question.call, question.error))
                    output.document(question)
            while lines:
                _take(dojo, run, lines.popleft(), unasked, output)
            waiting = [question.call for question in dojo.questions(run)]
            for number in waiting[: len(unasked)]:
                _give(dojo, run, number, unasked.popleft(), output)
            if output.closed or not asking or (ended and not unasked):
                return 0
            something.wait(_LOOK_S)
            something.clear()
    except KeyboardInterrupt:
        return INTERRUPTED


def _read(source: IO[str], lines: deque[str], closed: threading.Event, something: threading.Event) -> None:
    for line in source:
        if line.strip():
            lines.append(line)
            something.set()
    closed.set()
    something.set()


def _take(dojo: Dojo, run: str, line: str, unasked: deque[dict[str, Any]], output: Output) -> None:
    from harness.spec.errors import SpecError

    try:
        read = json.loads(line)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        output.document({"error": SpecError(f"not a JSON object: {one_line(line, 80)}", hint='write {"text": "…"}').as_dict()})
        return
    number = read.pop("call", None)
    if isinstance(number, int):
        _give(dojo, run, number, read, output)
    else:
        unasked.append(read)


def _give(dojo: Dojo, run: str, number: int, reply: dict[str, Any], output: Output) -> None:
    from harness.spec.errors import DojoError

    try:
        dojo.answer(run, number, reply)
    except DojoError as exc:  # a program that errs once goes on
        output.document({"call": number, "error": exc.as_dict()})


def _render_questions(data: Any, output: Output) -> None:
    if not data["waiting"]:
        output.line("nothing waits for an answer")
        return
    for question in data["waiting"]:
        output.line(f"call {question['call']}, since {question['time']}, {question['format']}")
        for message in question["messages"]:
            said = message["text"] if len(message["text"]) <= _SHOWN else message["text"][:_SHOWN] + " … (--json shows all)"
            output.line(f"\n{message['role']}: {sanitise(said)}")
        if question["tools"]:
            output.line("\ntools: " + ", ".join(one_line(tool["name"]) for tool in question["tools"]))
        if question["error"]:
            output.line(f"\nthe last answer was none: {one_line(question['error'])}")
        output.line()
    first = data["waiting"][0]["call"]
    output.line(f"answer: dojo backbone answer {data['run']} --call {first} --text '…' (or --shell, --tool, --file)")
