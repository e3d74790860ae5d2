"""The end of `dojo shell` inside a sandbox: a shell on a pseudo-terminal, its screen for whoever watches, its keys from a pipe.

This file runs in the sandbox as the agent's user (``python -P -c``) and has nothing but the standard library and dojo-tool's
client. ``FOLDER ROWS COLUMNS TERM`` are its arguments; it holds the shell and lives as long as it. Terminals see its screen
through viewers (shell_viewer.py). Keys come as lines of JSON into ``FOLDER/keys``, a named pipe: ``{"keys": base64}`` or
``{"size": [rows, columns]}``. Each command that the person ran becomes a note of the run.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import pty
import queue
import re
import selectors
import shutil
import signal
import socket
import struct
import sys
import termios
import threading
import time
from typing import Any

# Bytes of the screen that are kept for who attaches or falls behind.
_KEPT = 1024 * 1024
# Bytes of a command's output that go into its note; the whole screen is in the run's shell.log.
_NOTED = 4_000
# How long the last notes may take after the shell has ended, seconds.
_FLUSH_S = 5.0
# How long the shell waits for a viewer that takes nothing: the next one may have to be started first, on a busy machine.
_PATIENCE_S = 30.0
_SEQUENCES = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]|[\x00-\x08\x0b-\x1f\x7f]")

# Stands before every prompt on the screen, unseen: the mark of a prompt that terminals know.
_MARK = b"\x1b]133;A\x07"

# Told at every prompt: the exit code and the last line of the history, to the bridge on descriptor 9; the time that is left.
_RC = r"""
[ -f ~/.bashrc ] && . ~/.bashrc
unset HISTFILE HISTCONTROL HISTIGNORE
HISTSIZE=2000
set -o history
[ -f /agent/finish.sh ] && finish() { sh /agent/finish.sh "$@"; }
__dojo_told() {
    local code=$? now left
    printf '%s\0%s\0' "$code" "$(HISTTIMEFORMAT='' builtin history 1)" >&9
    printf -v now '%(%s)T' -1
    left=$(( DOJO_SHELL_ENDS - now ))
    (( left < 0 )) && left=0
    if (( left >= 3600 )); then printf -v __dojo_left '%dh %02dm' $(( left / 3600 )) $(( left % 3600 / 60 ))
    elif (( left >= 60 )); then printf -v __dojo_left '%dm %02ds' $(( left / 60 )) $(( left % 60 ))
    else printf -v __dojo_left '%ds' "$left"; fi
    return "$code"
}
PROMPT_COMMAND=__dojo_told
if (( DOJO_SHELL_ENDS > 0 )); then PS1='\[\e]133;A\a\][${__dojo_left} left] \w\$ '; else PS1='\[\e]133;A\a\]\w\$ '; fi
"""


class Screen:
    """What the shell has printed, the last of it kept, and who watches it."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self.end = 0
        self._viewers: list[socket.socket] = []

    def add(self, data: bytes) -> None:
        """Keep and pass on more of it. A viewer that takes nothing for too long is let go; it can come again."""
        self._kept += data
        self.end += len(data)
        del self._kept[:-_KEPT]
        for viewer in list(self._viewers):
            if not self._send(viewer, data):
                self._viewers.remove(viewer)
                viewer.close()

    def watch(self, viewer: socket.socket) -> None:
        """Show it to one more, from the offset asked for or, where that is gone, from the oldest kept."""
        viewer.settimeout(5.0)
        try:
            offset = int(viewer.recv(32).strip() or 0)
        except (OSError, ValueError):
            viewer.close()
            return
        start = self.end - len(self._kept)
        viewer.settimeout(_PATIENCE_S)
        if self._send(viewer, bytes(self._kept[max(0, offset - start) :])):
            self._viewers.append(viewer)

    def close(self) -> None:
        """Let the viewers end."""
        for viewer in self._viewers:
            viewer.close()

    @staticmethod
    def _send(viewer: socket.socket, data: bytes) -> bool:
        try:
            viewer.sendall(data)
        except OSError:
            return False
        return True


class Notes:
    """Writes what the person did into the run, in the order it was done, without holding up the terminal."""

    def __init__(self, shell: str) -> None:
        self._shell = shell
        self._queue: queue.Queue[tuple[str, dict[str, Any]] | None] = queue.Queue(maxsize=1000)
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def add(self, text: str, **data: Any) -> None:
        """Note something; beyond a thousand that wait, nothing."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait((text[:_NOTED], {"shell": self._shell, **data}))

    def close(self) -> None:
        """Wait a little for what was not written yet."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(_FLUSH_S)

    def _write(self) -> None:
        try:
            import dojo_tool
        except ImportError:
            return
        while (found := self._queue.get()) is not None:
            with contextlib.suppress(dojo_tool.ApiError, OSError):
                dojo_tool.Client().note(*found)


class Reports:
    """Puts together what the shell tells at each prompt and what was on the screen since the one before.

    The shell tells before it prints the prompt, so a prompt on the screen says that all its command printed was seen. A prompt
    that is drawn anew has nothing told, and a command is new when its number in the history is.
    """

    def __init__(self, notes: Notes) -> None:
        self._notes, self._rest, self._number = notes, b"", "0"
        self._told: list[tuple[int, str]] = []
        self._screen = bytearray()

    def told(self, data: bytes) -> None:
        """Take more of what the shell tells: exit code and line, each ended by a NUL."""
        *fields, self._rest = (self._rest + data).split(b"\0")
        if len(fields) % 2:
            self._rest = fields.pop() + b"\0" + self._rest
        pairs = zip(fields[::2], fields[1::2], strict=True)
        self._told += [(int(code), line.decode(errors="replace")) for code, line in pairs]

    def printed(self, data: bytes) -> bool:
        """Take more of the screen; say whether a prompt is on it whose command can be noted by `prompted`."""
        self._screen += data
        if _MARK in self._screen:
            return True
        if len(self._screen) > 4 * _NOTED:
            del self._screen[2 * _NOTED : -2 * _NOTED]
        return False

    def prompted(self) -> None:
        """Note the commands that the prompts on the screen have ended."""
        *printed, rest = bytes(self._screen).split(_MARK)
        self._screen = bytearray(rest)
        for output in printed:
            if self._told:
                self._note(*self._told.pop(0), output)

    def _note(self, code: int, line: str, output: bytes) -> None:
        number, _, command = line.strip().partition(" ")
        if not command or number == self._number:
            return
        self._number = number
        # since the mark: the prompt, the line as it was typed, and then what it printed
        text = _SEQUENCES.sub("", output.decode(errors="replace").replace("\r\n", "\n")).partition("\n")[2]
        shown = text if len(text) <= _NOTED else f"{text[: _NOTED // 2]}\n[…]\n{text[-_NOTED // 2 :]}"
        command = command.strip()[:_NOTED]
        self._notes.add(f"$ {command}", command=command, exit_code=code, output=shown)


class Keyboard:
    """Types into the terminal as fast as it takes it: a program that reads nothing holds up neither the screen nor the bridge."""

    def __init__(self, terminal: int) -> None:
        self._terminal, self._typing = terminal, os.dup(terminal)
        os.set_blocking(terminal, False)
        self._waiting = bytearray()
        self._registered = False

    def press(self, line: bytes) -> None:
        """Take one line from the harness. One that makes no sense is left alone: anything here can write into the pipe."""
        with contextlib.suppress(ValueError, KeyError, TypeError, OSError, struct.error):
            frame = json.loads(line)
            if "size" in frame:
                rows, columns = frame["size"]
                _size(self._terminal, int(rows), int(columns))
            else:
                self._waiting += base64.b64decode(frame["keys"])
                del self._waiting[_KEPT:]

    def type(self, selector: selectors.BaseSelector) -> None:
        """Type what the terminal takes now, and be called again when it takes more."""
        if self._waiting:
            with contextlib.suppress(OSError):
                del self._waiting[: os.write(self._typing, self._waiting[:4096])]
        if bool(self._waiting) is not self._registered:
            self._registered = bool(self._waiting)
            if self._registered:
                selector.register(self._typing, selectors.EVENT_WRITE)
            else:
                selector.unregister(self._typing)


def own(folder: str, rows: int, columns: int, term: str) -> int:
    """Hold a shell to its end; return its exit code."""
    bash = shutil.which("bash")
    if bash is None:
        print("there is no bash in this sandbox, and the shell needs it", file=sys.stderr)
        return 127
    os.makedirs(folder, 0o700, exist_ok=True)
    with open(f"{folder}/rc", "w", encoding="utf-8") as rc:
        rc.write(_RC)
    os.mkfifo(f"{folder}/keys", 0o600)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{folder}/screen")
    told, tell = os.pipe()
    child, terminal = pty.fork()
    if child == 0:
        os.dup2(tell, 9, inheritable=True)
        _size(0, rows, columns)
        os.execve(bash, [bash, "--rcfile", f"{folder}/rc", "-i"], {**os.environ, "TERM": term, "DOJO_SHELL_ENDS": str(_ends())})
    os.close(tell)
    keys = os.open(f"{folder}/keys", os.O_RDWR)  # writing too: it never ends
    listening.listen()
    screen, notes = Screen(), Notes(os.path.basename(folder))
    reports = Reports(notes)
    notes.add("a person opened a shell", opened=True)
    status = _serve(child, terminal, keys, told, listening, screen, reports)
    os.unlink(f"{folder}/screen")  # for the viewers: it is over, they were not let go
    screen.close()
    notes.add(f"the shell ended with exit code {status}", exit_code=status, closed=True)
    notes.close()
    shutil.rmtree(folder, ignore_errors=True)
    return status


def _serve(child: int, terminal: int, keys: int, told: int, listening: socket.socket, screen: Screen, reports: Reports) -> int:
    """Carry keys, screen and reports until the shell is over, whatever it left running."""
    wakeup, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    frames = b""
    keyboard = Keyboard(terminal)
    with selectors.DefaultSelector() as selector:
        for descriptor in (terminal, keys, told, listening.fileno(), wakeup):
            selector.register(descriptor, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if terminal in ready:
                data = _read(terminal)
                if not data:
                    selector.unregister(terminal)
                screen.add(data)
                if reports.printed(data):
                    reports.told(_rest(told))
                    reports.prompted()
            elif told in ready:
                data = _read(told)
                reports.told(data)
                if not data:
                    selector.unregister(told)
            if listening.fileno() in ready:
                screen.watch(listening.accept()[0])
            if keys in ready:
                *lines, frames = (frames + _read(keys)).split(b"\n")
                for line in lines:
                    keyboard.press(line)
            keyboard.type(selector)
            if wakeup in ready:
                _read(wakeup)
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    screen.add(_rest(terminal))
                    return os.waitstatus_to_exitcode(status) % 256


def _size(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _rest(descriptor: int) -> bytes:
    os.set_blocking(descriptor, False)
    found = b""
    while data := _read(descriptor):
        found += data
    return found


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # a terminal whose other end is closed, or nothing more for now
        return b""


def _ends() -> int:
    """Return when the run's wall time is over, in seconds since 1970."""
    try:
        import dojo_tool

        return int(time.time() + (dojo_tool.Client(patience_s=5.0).budget()["wall"]["left"] or 0))
    except Exception:  # the shell is of use without a clock
        return 0


if __name__ == "__main__":
    sys.exit(own(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
