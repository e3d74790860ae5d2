"""A sandbox and a backend in memory, for tests of what stands above the seam: no process, no host, and a clock that is told.

What a command answers, how a process goes on and when the place dies is the test's to say; names, offsets, files, deadlines and
errors are as everywhere.
"""

from __future__ import annotations

import errno
import io
import os
import posixpath
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from harness.sandbox.base import (
    OUTPUT_CAP,
    Check,
    ExecResult,
    ProcessStatus,
    Sandbox,
    SandboxSpec,
    SandboxUsage,
    SupportsRead,
    SupportsWrite,
    User,
)
from harness.sandbox.execd.tarballs import LEFT_OUT, Room
from harness.sandbox.execd.wire import CHUNK
from harness.spec.errors import SandboxError, SandboxUnavailable
from harness.spec.outcome import Cause, Death

_KILLED = 137


@dataclass(frozen=True)
class Call:
    """A command that was asked for."""

    argv: tuple[str, ...]
    stdin: bytes = b""
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    user: User = "agent"
    timeout_s: float | None = None


@dataclass
class ScriptedProcess:
    """A detached process; a test writes its output and ends it."""

    call: Call
    stdout: bytes = b""
    stderr: bytes = b""
    exit_code: int | None = None
    oom_killed: bool = False
    deadline: bool = False

    def end(self, exit_code: int = 0, *, oom_killed: bool = False, deadline: bool = False) -> None:
        """Let it end, unless it has."""
        if self.exit_code is None:
            self.exit_code, self.oom_killed, self.deadline = exit_code, oom_killed, deadline


def succeed(call: Call) -> ExecResult:
    """Answer any command with exit code 0 and no output."""
    return ExecResult(0, b"", b"")


class ScriptedSandbox:
    """A `Sandbox` in memory.

    Attributes:
        files: path → content; folders are what their paths imply.
        calls: the commands asked for so far.
        processes: id → what runs or ran.
        answer: what a command answers.
        survivors: what `kill_all` reports, and leaves running.
        used: what `usage` answers.
        now: its clock, seconds; `pass_time` moves it.
        closed: whether it was destroyed.
    """

    def __init__(
        self,
        spec: SandboxSpec,
        *,
        files: Mapping[str, bytes] | None = None,
        answer: Callable[[Call], ExecResult] = succeed,
    ) -> None:
        self.spec = spec
        self.files = dict(files or {})
        self.answer = answer
        self.calls: list[Call] = []
        self.processes: dict[str, ScriptedProcess] = {}
        self.survivors = 0
        self.used = SandboxUsage(0.0, 0.0, 0.0)
        self.now = 0.0
        self.closed = False
        self._ends_at: float | None = None
        self._death: Death | None = None

    def die(self, cause: Cause = Cause.SANDBOX, text: str = "the script says so") -> None:
        """Let it be gone: from now on every call says so, with this cause (EVICTED, SCHEDULING, SANDBOX)."""
        self._death = self._death or Death(cause, text)

    def pass_time(self, seconds: float) -> None:
        """Move its clock; a deadline that is over then is kept."""
        self.now += seconds
        self._keep_deadline()

    def exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: User = "agent",
        timeout_s: float | None = None,
        output_cap: int = OUTPUT_CAP,
    ) -> ExecResult:
        """Record the command and return the script's answer."""
        self._require_alive()
        self._require_time(user)
        self.calls.append(Call(tuple(argv), stdin, cwd, dict(env or {}), user, timeout_s))
        return self.answer(self.calls[-1])

    def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: User = "agent",
        name: str = "",
    ) -> str:
        """Record the process, which runs until the test ends it; a known name returns the process that has it."""
        self._require_alive()
        process = name or f"process-{len(self.processes) + 1}"
        if process not in self.processes:
            self._require_time(user)
            self.processes[process] = ScriptedProcess(Call(tuple(argv), b"", cwd, dict(env or {}), user))
        return process

    def poll(self, process: str, *, stdout_offset: int = 0, stderr_offset: int = 0, wait_s: float = 0.0) -> ProcessStatus:
        """Return state and output from the offsets, at once."""
        found = self._process(process)
        out, err = found.stdout[stdout_offset:], found.stderr[stderr_offset:]
        return ProcessStatus(
            running=found.exit_code is None,
            exit_code=found.exit_code,
            stdout=out,
            stderr=err,
            stdout_offset=stdout_offset + len(out),
            stderr_offset=stderr_offset + len(err),
            oom_killed=found.oom_killed,
            deadline=found.deadline,
        )

    def kill(self, process: str) -> None:
        """End the process as SIGKILL does."""
        self._process(process).end(_KILLED)

    def kill_all(self) -> int:
        """End every process but as many as the script lets survive."""
        self._require_alive()
        running = [process for process in self.processes.values() if process.exit_code is None]
        for process in running[self.survivors :]:
            process.end(_KILLED)
        return self.survivors

    def set_deadline(self, seconds: float | None) -> None:
        """Let everything end when its clock has gone on so far; None takes it back."""
        self._require_alive()
        self._ends_at = None if seconds is None else self.now + seconds
        self._keep_deadline()

    def read_file(self, path: str, *, max_bytes: int = 64 * 1024 * 1024, user: User = "agent") -> bytes:
        """Return a file's bytes."""
        self._require_alive()
        data = self.files.get(_absolute(path))
        if data is None:
            number = errno.EISDIR if self._inside(path) else errno.ENOENT
            raise OSError(number, os.strerror(number), path)
        if len(data) > max_bytes:
            raise SandboxError(f"{path} has more than {max_bytes} bytes", hint="ask for more", code="too_large")
        return data

    def write_file(self, path: str, data: bytes, *, user: User = "agent", mode: int = 0o644) -> None:
        """Keep the bytes."""
        self._require_alive()
        if self._inside(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        self.files[_absolute(path)] = bytes(data)

    def read_into(self, path: str, target: SupportsWrite, *, max_bytes: int, user: User = "agent") -> int:
        """Write a file's bytes into ``target``."""
        data = self.read_file(path, max_bytes=max_bytes, user=user)
        for start in range(0, len(data), CHUNK):
            target.write(data[start : start + CHUNK])
        return len(data)

    def write_from(self, path: str, source: SupportsRead, size: int, *, user: User = "agent", mode: int = 0o644) -> None:
        """Keep the bytes."""
        self.write_file(path, source.read(size), user=user, mode=mode)

    def archive(self, path: str, *, user: User = "agent", room: Room | None = None, whole: bool = True) -> Iterator[bytes]:
        """Yield a tar of what lies below ``path``; files for which there is no room by name alone."""
        self._require_alive()
        found = self._inside(path)
        if not found:
            number = errno.ENOTDIR if _absolute(path) in self.files else errno.ENOENT
            raise OSError(number, os.strerror(number), path)
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            left = 0 if room is None else room.total_bytes
            for name, data in sorted(found.items()):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                top, deeper, _ = name.partition("/")
                if room is not None and room.unwanted(top, folder=bool(deeper)):
                    info.pax_headers, info.size = {LEFT_OUT: f"unwanted {len(data)}"}, 0
                elif room is not None and len(data) > min(room.file_bytes, left):
                    info.pax_headers, info.size = {LEFT_OUT: f"too_large {len(data)}"}, 0
                left -= info.size
                tar.addfile(info, io.BytesIO(data))
        yield out.getvalue()

    def extract(self, path: str, tar: BinaryIO, *, user: User = "agent") -> None:
        """Keep the files of a tar below ``path``."""
        self._require_alive()
        with tarfile.open(fileobj=tar, mode="r|") as archive:
            for member in archive:
                safe = posixpath.normpath(member.name)
                if safe.startswith(("/", "..")) or not (member.isreg() or member.isdir()):
                    raise SandboxError(f"{member.name!r} is no plain file or folder", code="unsafe_member")
                if (file := archive.extractfile(member)) is not None:
                    self.files[f"{_absolute(path)}/{safe}"] = file.read()

    def usage(self) -> SandboxUsage:
        """Return what the script says."""
        self._require_alive()
        return self.used

    def alive(self) -> bool:
        """Whether it has not died."""
        return self._death is None

    def close(self) -> None:
        """Be destroyed."""
        self.closed = True
        self.die(text="it was destroyed")

    def _require_alive(self) -> None:
        if self._death is not None:
            raise SandboxUnavailable(f"the sandbox {self.spec.id!r} does not answer: {self._death.text}", death=self._death)

    def _over(self) -> bool:
        return self._ends_at is not None and self.now >= self._ends_at

    def _require_time(self, user: User) -> None:
        if user == "agent" and self._over():
            raise SandboxError("the sandbox's deadline is over", hint="move it or take it back", code="deadline")

    def _keep_deadline(self) -> None:
        if self._over():
            for process in self.processes.values():
                process.end(_KILLED, deadline=True)

    def _process(self, process: str) -> ScriptedProcess:
        self._require_alive()
        if process not in self.processes:
            raise SandboxError(f"there is no process {process!r}", code="no_such_process")
        return self.processes[process]

    def _inside(self, path: str) -> dict[str, bytes]:
        """Return what lies below ``path``, by its name from there."""
        folder = _absolute(path).rstrip("/") + "/"
        return {name.removeprefix(folder): data for name, data in self.files.items() if name.startswith(folder)}


class ScriptedBackend:
    """A `Backend` whose sandboxes are scripted.

    Attributes:
        sandboxes: id → what exists.
        created: the specifications that sandboxes were asked for with, failures included.
        destroyed: ids in the order in which they were destroyed.
        failures: what the next creations raise, one after the other, before any succeeds.
        always: what every creation raises, where it is set.
    """

    name = "scripted"

    def __init__(
        self,
        make: Callable[[SandboxSpec], ScriptedSandbox] = ScriptedSandbox,
        *,
        failures: Sequence[Exception] = (),
        always: Exception | None = None,
    ) -> None:
        self._make = make
        self.failures = list(failures)
        self.always = always
        self.sandboxes: dict[str, ScriptedSandbox] = {}
        self.created: list[SandboxSpec] = []
        self.destroyed: list[str] = []

    def check(self) -> list[Check]:
        """Need nothing."""
        return [Check("script", True, "nothing is needed")]

    def create(self, spec: SandboxSpec) -> Sandbox:
        """Make one, or fail as the script says."""
        self.created.append(spec)
        if self.always is not None:
            raise self.always
        if self.failures:
            raise self.failures.pop(0)
        if spec.id in self.list():
            raise SandboxError(f"there is a sandbox {spec.id!r} already", hint="destroy it first", code="exists")
        self.sandboxes[spec.id] = self._make(spec)
        return self._living(spec.id)

    def attach(self, id: str) -> Sandbox:
        """Return the one that lives."""
        if id not in self.list():
            raise SandboxUnavailable(f"there is no sandbox {id!r}", hint="it was destroyed, or never made")
        return self._living(id)

    def list(self) -> list[str]:
        """Return the ids of what was not destroyed, dead ones included."""
        return sorted(id for id, sandbox in self.sandboxes.items() if not sandbox.closed)

    def destroy(self, id: str) -> None:
        """Remove it."""
        self.destroyed.append(id)
        if (sandbox := self.sandboxes.pop(id, None)) is not None:
            sandbox.close()

    def _living(self, id: str) -> ScriptedSandbox:
        sandbox = self.sandboxes[id]
        sandbox.usage()  # raises where it is dead
        return sandbox


def no_room(text: str = "no machine has room for it") -> SandboxUnavailable:
    """Return what a backend with a scheduler raises where there is no place."""
    return SandboxUnavailable(f"the sandbox was not made: {text}", death=Death(Cause.SCHEDULING, text))


def _absolute(path: str) -> str:
    return posixpath.normpath(posixpath.join("/workspace", path))
