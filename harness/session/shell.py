"""The harness's end of `dojo shell`: one terminal on a shell in a sandbox, by nothing but what every `Sandbox` gives.

The bridge is a process started in the sandbox; its screen is polled, keys go through commands that write into its pipe. So it
works wherever sandboxes do, and nothing of this host is shown inside but the terminal's kind and size.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from harness.sandbox.base import Sandbox
from harness.session import shell_bridge, shell_viewer
from harness.spec.errors import SandboxError, UsageError

_TERM = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}")
_FOLDER = "/tmp/.dojo-{name}"
# One viewer's output is kept by the sandbox up to 32 MiB; well before, it stops until the next one takes its place.
_VIEWER_BYTES = 16 * 1024 * 1024
# Shells of one run; each costs its sandbox a few processes.
SHELLS = 20
# Of what was on the screens of a run's shells; as much as is kept of an agent program's output.
LOG_BYTES = 50 * 1024 * 1024
# The pipe takes a line of this length at once, whoever else writes: PIPE_BUF with the frame around base64.
_KEYS = 2_048
_WRITE_S = 10.0


@dataclass(frozen=True)
class Size:
    """Of a terminal, in characters."""

    rows: int = 24
    columns: int = 80


@dataclass(frozen=True)
class ShellEnd:
    """How a shell ended. ``by_deadline``: the run's time was over."""

    exit_code: int
    by_deadline: bool = False


class Shell:
    """One terminal on one shell of a run. Reading and writing may be done by two threads.

    Args:
        sandbox: where it runs.
        number: which of the sandbox's shells.
        log: file to which everything is added that comes onto the screen.
    """

    def __init__(self, sandbox: Sandbox, number: int, log: Path | None = None) -> None:
        self._log = log
        self.number = number
        self._sandbox, self._name = sandbox, f"shell-{number}"
        self._folder = _FOLDER.format(name=self._name)
        self._offset = 0
        self._viewer = self._viewer_name = ""
        self._viewer_offset = 0

    @classmethod
    def open(cls, sandbox: Sandbox, size: Size, term: str, log: Path | None = None) -> Shell:
        """Start the next shell of the sandbox.

        Raises:
            UsageError: there are too many.
            SandboxError: the sandbox takes no new process.
        """
        number = next((number for number in range(1, SHELLS + 1) if not _known(sandbox, number)), None)
        if number is None:
            raise UsageError(
                f"this run has had {SHELLS} shells, and that is all it gets", hint="--attach N goes back to one that runs"
            )
        shell = cls(sandbox, number, log)
        arguments = [shell._folder, str(size.rows), str(size.columns), term if _TERM.fullmatch(term) else "xterm"]
        shell._keep(f"\n=== {shell._name}, {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC ===\n".encode())
        sandbox.start(_program(shell_bridge, *arguments), cwd="/workspace", name=shell._name)
        shell._watch()
        return shell

    @classmethod
    def attach(cls, sandbox: Sandbox, number: int, size: Size, log: Path | None = None) -> Shell:
        """Return to a shell that runs.

        Raises:
            UsageError: there is none of that number that runs.
        """
        shell = cls(sandbox, number, log)
        if not _known(sandbox, number) or shell.ended() is not None:
            raise UsageError(f"there is no shell {number} that runs", hint="without --attach a new one is opened")
        shell._watch()
        shell.resize(size)
        return shell

    def read(self, wait_s: float = 1.0) -> bytes | None:
        """Return what came onto the screen, b"" for nothing within ``wait_s``, None when the shell is over.

        Raises:
            SandboxUnavailable: the sandbox is gone.
        """
        status = self._sandbox.poll(self._viewer, stdout_offset=self._viewer_offset, wait_s=wait_s)
        self._viewer_offset = status.stdout_offset
        self._offset += len(status.stdout)
        if status.stdout:
            self._keep(status.stdout)
            if self._viewer_offset >= _VIEWER_BYTES:
                self._watch(self._viewer_name)  # the one before ends by itself
            return status.stdout
        if status.running:
            return b""
        if status.exit_code == 0 or status.deadline or self.ended() is not None:
            return None
        with _until_the_deadline():
            self._watch()  # only the viewer was let go, or was killed
            return b""
        return None

    def write(self, keys: bytes) -> None:
        """Press keys.

        Raises:
            SandboxUnavailable: the sandbox is gone.
        """
        lines = [
            json.dumps({"keys": base64.b64encode(keys[start : start + _KEYS]).decode()}) for start in range(0, len(keys), _KEYS)
        ]
        self._send(lines)

    def resize(self, size: Size) -> None:
        """Tell the shell the size of the terminal."""
        self._send([json.dumps({"size": [size.rows, size.columns]})])

    def ended(self) -> ShellEnd | None:
        """Return how the shell ended, None while it runs."""
        status = self._sandbox.poll(self._name)
        return None if status.running else ShellEnd(status.exit_code if status.exit_code is not None else 1, status.deadline)

    def end(self, wait_s: float = 10.0) -> ShellEnd:
        """Return how the shell ended, after its screen did."""
        status = self._sandbox.poll(self._name, stdout_offset=1 << 40, stderr_offset=1 << 40, wait_s=wait_s)
        return ShellEnd(status.exit_code if status.exit_code is not None else 1, status.deadline)

    def close(self) -> None:
        """Stop watching; the shell lives on."""
        try:
            self._sandbox.kill(self._viewer)
        except SandboxError:
            return

    def _keep(self, data: bytes) -> None:
        """Add to the log; a full disk or a full log costs the record, not the shell."""
        if self._log is not None:
            with contextlib.suppress(OSError), self._log.open("ab") as out:
                if out.tell() < LOG_BYTES:
                    out.write(data)

    def _send(self, lines: list[str]) -> None:
        data = "".join(f"{line}\n" for line in lines).encode()
        argv = ["/bin/sh", "-c", 'exec cat > "$0"', f"{self._folder}/keys"]
        with _until_the_deadline():
            self._sandbox.exec(argv, stdin=data, timeout_s=_WRITE_S)

    def _watch(self, before: str = "") -> None:
        """Start a viewer, in the place of the one named ``before``."""
        self._viewer_offset, self._viewer_name = 0, f"view-{secrets.token_hex(4)}"
        arguments = [str(self._offset), str(_VIEWER_BYTES), self._viewer_name, *([before] if before else [])]
        self._viewer = self._sandbox.start(_program(shell_viewer, self._folder, *arguments))


@contextlib.contextmanager
def _until_the_deadline() -> Iterator[None]:
    """Do something in the sandbox, or nothing where its time is over: the shell's end says so."""
    try:
        yield
    except SandboxError as exc:
        if exc.code != "deadline":
            raise


def running(sandbox: Sandbox) -> list[int]:
    """Return the numbers of the shells that run."""
    return [number for number in range(1, SHELLS + 1) if _known(sandbox, number) and Shell(sandbox, number).ended() is None]


def _known(sandbox: Sandbox, number: int) -> bool:
    try:
        sandbox.poll(f"shell-{number}")
    except SandboxError as exc:
        if exc.code == "no_such_process":
            return False
        raise
    return True


def _program(module: ModuleType, *arguments: str) -> list[str]:
    return ["python", "-P", "-c", Path(str(module.__file__)).read_text(encoding="utf-8"), *arguments]
