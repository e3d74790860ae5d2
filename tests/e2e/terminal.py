"""A terminal for tests: a command on a real pseudo-terminal, driven by keys and watched by what it shows."""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from types import TracebackType
from typing import Self


class Terminal:
    """`dojo ARGS` as a person would see it."""

    def __init__(self, environment: dict[str, str], *args: str, rows: int = 40, columns: int = 110) -> None:
        self.shown = b""
        self._seen = 0
        self.pid, self._end = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", "harness.cli.main", *args], {**environment, "TERM": "xterm"})
        self.resize(rows, columns)

    def resize(self, rows: int, columns: int) -> None:
        """Be of another size."""
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._end, keys.encode())

    def until(self, text: str, seconds: float = 60) -> str:
        """Wait until ``text`` is shown that was not waited for before; return what was shown up to it."""
        deadline = time.monotonic() + seconds
        while (found := self.shown.find(text.encode(), self._seen)) < 0:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} was not shown within {seconds:.0f} s: {self.shown[self._seen :][-3000:]!r}"
            if select.select([self._end], [], [], left)[0]:
                try:
                    data = os.read(self._end, 65536)
                except OSError:
                    data = b""
                assert data, f"it ended before it showed {text!r}: {self.shown[self._seen :][-3000:]!r}"
                self.shown += data
        end = found + len(text.encode())
        shown, self._seen = self.shown[self._seen : end].decode(errors="replace"), end
        return shown

    def exit_code(self, seconds: float = 30) -> int:
        """Wait for the end of the command."""
        deadline = time.monotonic() + seconds
        while True:
            if select.select([self._end], [], [], 0.05)[0]:
                try:
                    self.shown += os.read(self._end, 65536)
                except OSError:
                    return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            assert time.monotonic() < deadline, self.shown[-2000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        """Lose the terminal, as when its window is closed."""
        os.close(self._end)
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            return
