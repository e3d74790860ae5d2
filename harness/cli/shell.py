"""``dojo shell``: a person's shell in the task sandbox of a live run."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from harness.cli.base import Command, Invocation, pass_invocation
from harness.cli.complete import runs
from harness.cli.output import Output

if TYPE_CHECKING:
    from harness.service.shells import OpenShell
    from harness.session.shell import ShellEnd, Size


@click.command("shell", cls=Command)
@click.argument("run", shell_complete=runs)
@click.option("--attach", type=click.IntRange(1), metavar="N", help="Go back to shell N, which still runs.")
@click.option("--anyway", is_flag=True, help="Also where the agent is a program; the result then says that a person was there.")
@pass_invocation
def shell(invocation: Invocation, run: str, attach: int | None, anyway: bool) -> int:
    """Open a shell in the task sandbox of a live run: under its clock, its limits and its log, with dojo-tool on PATH.

    For runs of the agent human, which wait for you: `finish` (or `exit` of the last shell) ends the run, and what you handed in
    counts. A shell lives on when its terminal is lost. What you run becomes part of the run's trajectory.
    """
    from harness.spec.errors import UsageError

    if invocation.output.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("a shell needs a terminal on its standard input and output", hint="programs use the agent API instead")
    found = invocation.dojo().shell(run, _size(), os.environ.get("TERM", ""), attach=attach, anyway=anyway)
    _greet(found, invocation.output)
    ended = _talk(found)
    return _goodbye(found, ended, invocation.output)


def _greet(found: OpenShell, output: Output) -> None:
    number = found.shell.number
    output.say(f"shell {number} in run {found.spec.id}; if this terminal is lost: dojo shell {found.spec.id} --attach {number}")
    if found.human:
        output.say("`dojo-tool task` says what is to be done, `dojo-tool submit DIR` hands in, `finish` ends the run")


def _goodbye(found: OpenShell, ended: ShellEnd, output: Output) -> int:
    if ended.by_deadline:
        output.say("the run's time is over; what was handed in counts")
        return 0
    if not found.human or ended.exit_code != 0:
        output.say(f"the shell ended with exit code {ended.exit_code}; the run goes on")
        return ended.exit_code
    if others := found.others():
        output.say(f"the run goes on: {len(others)} more shells are open")
        return 0
    if click.confirm("That was the last shell. End the run? What you handed in counts", err=True):
        found.finish()
    else:
        output.say(f"the run goes on until its time is over; dojo shell {found.spec.id} opens another shell")
    return 0


def _talk(found: OpenShell) -> ShellEnd:
    """Be the terminal of the shell until it is over."""
    shell = found.shell
    over, broken = threading.Event(), list[BaseException]()
    with _raw(), _resizes() as wakeup:
        typing = threading.Thread(target=_type, args=(found, wakeup, over, broken), daemon=True, name="shell-keys")
        typing.start()
        try:
            while not broken and (data := shell.read()) is not None:
                while data:
                    data = data[os.write(1, data) :]
        finally:
            over.set()
    if broken:
        raise broken[0]
    return shell.end()


def _type(found: OpenShell, wakeup: int, over: threading.Event, broken: list[BaseException]) -> None:
    """Pass on what is typed, and the terminal's size when it changes."""
    try:
        while not over.is_set():
            ready, _, _ = select.select([0, wakeup], [], [], 0.5)
            if wakeup in ready:
                os.read(wakeup, 1024)
                found.shell.resize(_size())
            if 0 in ready:
                keys = os.read(0, 65536)
                if not keys:
                    return
                if not over.is_set():
                    found.shell.write(keys)
    except BaseException as exc:
        if not over.is_set():
            broken.append(exc)


@contextmanager
def _raw() -> Iterator[None]:
    """Have every key as it is, Ctrl-C too; whatever happens, the terminal is given back as it was."""
    import termios
    import tty

    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSAFLUSH, before)
        os.write(1, b"\x1b[?2004l\x1b[0m\r\n")  # bracketed paste off: the shell that turned it on may have been killed


@contextmanager
def _resizes() -> Iterator[int]:
    """Yield a descriptor that can be read when the terminal has changed its size."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    # Written by the signal itself: a handler of ours would wait until this thread comes back from waiting for the screen.
    woken = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    before = signal.signal(signal.SIGWINCH, lambda number, frame: None)
    try:
        yield read
    finally:
        signal.signal(signal.SIGWINCH, before)
        signal.set_wakeup_fd(woken)
        os.close(read)
        os.close(write)


def _size() -> Size:
    """The terminal's own size: LINES and COLUMNS, which a parent may have left in the environment, never change with it."""
    import shutil

    from harness.session.shell import Size

    columns, rows = os.get_terminal_size(0)
    if not (columns and rows):  # a serial line knows no size of its own
        columns, rows = shutil.get_terminal_size()
    return Size(rows, columns)
