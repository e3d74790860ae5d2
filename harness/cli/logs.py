"""``dojo logs``: a run's events, or what its agent printed; live if asked."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import runs
from harness.cli.humanise import duration
from harness.cli.interrupt import INTERRUPTED
from harness.cli.output import Output
from harness.cli.sanitise import StreamSanitiser, one_line, sanitise

if TYPE_CHECKING:
    from harness.service import Dojo
    from harness.spec.event import Event


# Of a progress bar that is drawn ten times a second nobody reads more.
_STATE_EVERY_S = 1.0


@click.command("logs", cls=Command)
@click.argument("run", shell_complete=runs)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("--harness", "source", flag_value="harness", default=True, help="The run's events (the default).")
@click.option("--agent", "source", flag_value="agent", help="What the agent program printed: its stdout and stderr.")
@click.option("--llm", "source", flag_value="llm", help="The agent's talk with its backbone.")
@pass_invocation
def logs(invocation: Invocation, run: str, follow: bool, source: str) -> int:
    """Show what happened in a run.

    With --llm each call shows the messages that no call before it held, then the answer. With --json one object a line: an event
    as in events.jsonl, {"stream", "text"} with --agent, a call with --llm. Of a line that the agent writes over and over, as
    progress bars are, its last state is shown; with -f at most one a second on the way.
    """
    output = invocation.output
    from harness.cli.reader import until_reader_leaves

    try:
        with until_reader_leaves() as left:
            if source == "agent":
                _agent(invocation.dojo(), run, follow, left, output)
            elif source == "llm":
                from harness.cli.llm_log import show_talk

                show_talk(invocation.dojo().talk(run, follow=follow, stop=left), output)
            else:
                _events(invocation.dojo().events(run, follow=follow, stop=left), output)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _events(events: Iterator[Event], output: Output) -> None:
    from harness.session.status import describe

    for event in events:
        if output.as_json:
            output.document(event)
        else:
            clock = event.time.astimezone().strftime("%H:%M:%S")
            output.line(f"{clock} {duration(event.elapsed_s):>7}  {event.kind.value:<16} {one_line(describe(event), 300)}")
        if output.closed:
            return


def _agent(dojo: Dojo, run: str, follow: bool, stop: threading.Event, output: Output) -> None:
    """Pass the agent's stdout to ours and its stderr to ours, as it comes."""
    for name, text in _both(dojo, run, stop) if follow else _one_after_the_other(dojo, run):
        if output.as_json:
            output.document({"stream": name, "text": text})
        elif name == "stdout":
            output.write(sanitise(text))
        else:
            output.say(sanitise(text).removesuffix("\n"))
        if output.closed:
            return


def _one_after_the_other(dojo: Dojo, run: str) -> Iterator[tuple[str, str]]:
    for name in ("stdout", "stderr"):
        yield from ((name, text) for text in _lines(dojo.output(run, name)))


def _both(dojo: Dojo, run: str, stop: threading.Event) -> Iterator[tuple[str, str]]:
    """Follow both streams at once, each in a thread, and yield what either gives."""
    pieces: queue.Queue[tuple[str, str] | BaseException | None] = queue.Queue(maxsize=64)

    def read(name: str) -> None:
        try:
            for text in _lines(dojo.output(run, name, follow=True, stop=stop), states=True):
                pieces.put((name, text))
            pieces.put(None)
        except Exception as exc:
            pieces.put(exc)

    for name in ("stdout", "stderr"):
        threading.Thread(target=read, args=(name,), daemon=True, name=f"logs-{name}").start()
    ended = 0
    try:
        while ended < 2:
            piece = pieces.get()
            if isinstance(piece, BaseException):
                raise piece
            if piece is None:
                ended += 1
            else:
                yield piece
    finally:
        stop.set()


def _lines(pieces: Iterator[bytes], states: bool = False, clock: Callable[[], float] = time.monotonic) -> Iterator[str]:
    """Turn bytes cut anywhere into whole lines, made safe to show, each in its last state.

    Args:
        pieces: the bytes; empty ones where nothing new has come.
        states: tell the states of a line that is written over and over as well, as progress bars are, at most one a second.
        clock: seconds.
    """
    stream, due = StreamSanitiser(), clock()
    for piece in pieces:
        if text := stream.feed(piece):
            yield text
        if states and clock() >= due and (text := stream.state()):
            due = clock() + _STATE_EVERY_S
            yield text
    if text := stream.close():
        yield text if text.endswith("\n") else text + "\n"
