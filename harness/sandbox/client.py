"""The host's end of execd: the `Sandbox` that is made of calls on its two channels."""

from __future__ import annotations

import contextlib
import io
import math
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from harness.sandbox.base import (
    OUTPUT_CAP,
    ExecResult,
    ProcessStatus,
    SandboxSpec,
    SandboxUsage,
    SupportsRead,
    SupportsWrite,
    User,
)
from harness.sandbox.channel import NONSENSE, SILENCE_S, Channel, SandboxAnswer, raise_error, require_ok
from harness.sandbox.execd.tarballs import Room
from harness.sandbox.execd.wire import CHUNK, Head, Unread, Wire, WireClosed
from harness.sandbox.host import SandboxHost
from harness.spec.errors import SandboxError, SandboxUnavailable

# How long execd may take to kill a tree and report after a command's deadline.
AFTER_DEADLINE_S = 45.0
# Folders a path may go through: as deep as an archive goes, and no walk inside runs out of stack.
_PARTS = 128
_NO_SIGNAL_EXIT = 126


class Cancellation:
    """Ends a running `ExecdSandbox.exec` from another thread: its command's tree is killed, as when a client hangs up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self._cancelled = False

    def cancel(self) -> None:
        """End the call, now or when it begins; fine when it has ended."""
        with self._lock:
            self._cancelled = True
            self._hang_up()

    @contextlib.contextmanager
    def watching(self, sock: socket.socket) -> Iterator[None]:
        """For the length of a call on ``sock``."""
        with self._lock:
            self._sock = sock
            if self._cancelled:
                self._hang_up()
        try:
            yield
        finally:
            with self._lock:
                self._sock = None

    def _hang_up(self) -> None:
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)


class ExecdSandbox:
    """A `Sandbox` whose inside is an execd, wherever that runs. Safe for several threads at once."""

    def __init__(self, spec: SandboxSpec, host: SandboxHost) -> None:
        self.spec = spec
        self._host = host
        self._control = Channel(host, "control")
        self._commands = Channel(host, "commands")
        self._kills_seen = 0

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
        cancellation: Cancellation | None = None,
    ) -> ExecResult:
        """Run a command to its end or its deadline; see `Sandbox.exec`. A cancelled one has exit code 137."""
        timeout_s = _seconds(timeout_s)
        head = {
            "op": "exec",
            "argv": _checked(argv),
            "cwd": cwd,
            "env": dict(env or {}),
            "user": user,
            "timeout_s": timeout_s,
            "output_cap": output_cap,
        }
        wait = None if timeout_s is None else timeout_s + AFTER_DEADLINE_S

        def once(new: bool) -> ExecResult:
            with self._commands.call(wait, new=new) as wire, (cancellation or Cancellation()).watching(wire.sock):
                wire.send(head, stdin)
                answer, body = wire.receive()
                raise_error(answer)
                return _exec_result(answer["ok"], body)

        try:
            try:
                result = once(new=False)
            except SandboxUnavailable as exc:
                if stdin or not isinstance(exc.__cause__, Unread):
                    raise
                result = once(new=True)  # see `Channel.ask`
        except BlockingIOError as exc:  # no process could be made for the call
            return ExecResult(_NO_SIGNAL_EXIT, b"", f"{exc.strerror}\n".encode())
        except SandboxUnavailable as exc:
            if isinstance(exc.__cause__, WireClosed):
                return self._lost()
            raise
        if result.oom_killed:
            self._kills_seen = self._host.measured()[2]
        return result

    def _lost(self) -> ExecResult:
        """Return what is known of a command whose worker is gone though the sandbox lives.

        Raises:
            SandboxUnavailable: the sandbox is gone.
        """
        self._simple("ping")
        kills = self._host.measured()[2]
        killed, self._kills_seen = kills > self._kills_seen, kills
        reason = b"execd's worker for this command was killed for want of memory\n" if killed else b"execd's worker was killed\n"
        return ExecResult(137, b"", reason, oom_killed=killed)

    def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: User = "agent",
        name: str = "",
    ) -> str:
        """Start a detached process and return its id; a known ``name`` returns the process that has it, running or ended.

        Raises:
            SandboxUnavailable: the sandbox is gone.
            SandboxError: no process can be made (code ``process_limit``), or the name cannot be one (code ``bad_name``).
        """
        head = {"op": "start", "argv": _checked(argv), "cwd": cwd, "env": dict(env or {}), "user": user, "name": name}
        try:  # a connection of its own, for its worker becomes the process's supervisor; a name is started once
            ok, _ = self._commands.ask(head, keep=False, harmless=bool(name))
        except BlockingIOError as exc:
            raise SandboxError(str(exc.strerror), hint="the sandbox's process limit is reached", code="process_limit") from exc
        with self._making_sense():
            return str(ok["process"])

    def poll(self, process: str, *, stdout_offset: int = 0, stderr_offset: int = 0, wait_s: float = 0.0) -> ProcessStatus:
        """Return state and output from the offsets; see `Sandbox.poll`.

        Raises:
            SandboxUnavailable: the sandbox is gone.
            SandboxError: no such process (code ``no_such_process``).
        """
        head = {"op": "poll", "process": process, "stdout_offset": stdout_offset, "stderr_offset": stderr_offset}
        ok, body = self._simple("poll", {**head, "wait_s": wait_s}, timeout_s=SILENCE_S + wait_s)
        with self._making_sense():
            return ProcessStatus(
                running=bool(ok["running"]),
                exit_code=None if ok["exit_code"] is None else int(ok["exit_code"]),
                stdout=body[: int(ok["stdout"])],
                stderr=body[int(ok["stdout"]) :],
                stdout_offset=int(ok["stdout_offset"]),
                stderr_offset=int(ok["stderr_offset"]),
                oom_killed=bool(ok["oom_killed"]),
                started=bool(ok.get("started", True)),
                deadline=bool(ok.get("deadline", False)),
            )

    def kill(self, process: str) -> None:
        """Kill a detached process with its tree; returns when it is dead. Fine if it has ended.

        Raises:
            SandboxError: no such process (code ``no_such_process``), or it does not die (code ``not_dead``).
        """
        self._simple("kill", {"process": process})

    def kill_all(self) -> int:
        """Kill every process of the agent's user; return how many survived."""
        answer, _ = self._simple("kill_all")
        with self._making_sense():
            return int(answer["survivors"])

    def set_deadline(self, seconds: float | None) -> None:
        """Let everything of the agent end ``seconds`` from now; see `Sandbox.set_deadline`.

        Raises:
            SandboxUnavailable: the sandbox is gone.
            SandboxError: ``seconds`` is no number (code ``bad_deadline``).
        """
        if seconds is not None and not math.isfinite(seconds):
            raise SandboxError(f"{seconds} is no number of seconds", hint="give a number, or None for never", code="bad_deadline")
        self._simple("deadline", {"seconds": seconds})

    def read_file(self, path: str, *, max_bytes: int = 64 * 1024 * 1024, user: User = "agent") -> bytes:
        """Return a file's bytes; see `Sandbox.read_file`. What is no regular file is a SandboxError (code ``not_regular``)."""
        whole = io.BytesIO()
        self.read_into(path, whole, max_bytes=max_bytes, user=user)
        return whole.getvalue()

    def read_into(self, path: str, target: SupportsWrite, *, max_bytes: int, user: User = "agent") -> int:
        """Write a file's bytes into ``target``; see `Sandbox.read_into`."""
        size = 0
        with self._control.call(SILENCE_S) as wire:
            wire.send({"op": "read", "path": _path(path), "max_bytes": max_bytes, "user": user})
            for piece in self._stream(wire):
                size += len(piece)
                if size > max_bytes:
                    raise ValueError(f"more than the {max_bytes} bytes asked for")
                target.write(piece)
        return size

    def write_file(self, path: str, data: bytes, *, user: User = "agent", mode: int = 0o644) -> None:
        """Write a file, making its parents; see `Sandbox.write_file`."""
        self._simple("write", {"path": _path(path), "user": user, "mode": mode}, data)

    def write_from(self, path: str, source: SupportsRead, size: int, *, user: User = "agent", mode: int = 0o644) -> None:
        """Write the next ``size`` bytes of ``source`` as a file; see `Sandbox.write_from`."""
        with self._control.call(SILENCE_S) as wire:
            wire.send_from({"op": "write", "path": _path(path), "user": user, "mode": mode}, source.read, size)
            answer, _ = wire.receive()
            raise_error(answer)
            require_ok(answer)

    def archive(self, path: str, *, user: User = "agent", room: Room | None = None, whole: bool = True) -> Iterator[bytes]:
        """Stream a directory as a tar; see `Sandbox.archive`. Whoever stops early only closes the iterator."""
        wire = self._control.once()
        wire.sock.settimeout(SILENCE_S)
        with contextlib.closing(wire):
            try:
                wanted = None if room is None else (room.file_bytes, room.total_bytes, room.without)
                wire.send({"op": "archive", "path": _path(path), "user": user, "room": wanted, "whole": whole})
                yield from self._stream(wire)
            except SandboxAnswer as exc:
                raise exc.error from None
            except (TimeoutError, WireClosed, *NONSENSE) as exc:
                death = self._host.cause_of_death()
                raise SandboxUnavailable(f"the archive of {path} broke off; {death.text}", death=death) from exc

    def extract(self, path: str, tar: BinaryIO, *, user: User = "agent") -> None:
        """Unpack a tar made by the harness under ``path``.

        Raises:
            OSError: as the calls inside would.
            SandboxError: a member that is no plain file or folder (code ``unsafe_member``).
        """
        with self._control.call(SILENCE_S) as wire:
            wire.send({"op": "extract", "path": _path(path), "user": user})
            while data := tar.read(CHUNK):
                wire.send({}, data)
            wire.send({"end": True})
            answer, _ = wire.receive()
            raise_error(answer)
            require_ok(answer)

    def usage(self) -> SandboxUsage:
        """Return what has been used so far; CPU and memory are counted outside where the host can."""
        inside, _ = self._simple("usage")
        cpu_s, memory_mb, oom_kills = self._host.measured()
        with self._making_sense():
            return SandboxUsage(
                cpu_s=float(inside["cpu_s"]) if cpu_s is None else cpu_s,
                memory_peak_mb=float(inside["memory_bytes"]) / 1048576 if memory_mb is None else memory_mb,
                disk_mb=float(inside["disk_bytes"]) / 1048576,
                oom_kills=max(oom_kills, int(inside.get("oom_kills", 0))),
                processes=int(inside["processes"]),
            )

    def alive(self) -> bool:
        """Whether it still answers."""
        try:
            self._simple("ping", timeout_s=10.0)
        except SandboxUnavailable:
            return False
        return True

    def close(self) -> None:
        """Destroy the sandbox with all remains; may be called twice."""
        self.disconnect()
        self._host.destroy()

    def disconnect(self) -> None:
        """Close the connections that are kept for the next call, which makes new ones."""
        self._control.close()
        self._commands.close()

    @contextlib.contextmanager
    def _making_sense(self) -> Iterator[None]:
        """Read an answer.

        Raises:
            SandboxUnavailable: it is not what execd answers.
        """
        try:
            yield
        except NONSENSE as exc:
            raise SandboxUnavailable(f"what answers for the sandbox {self.spec.id!r} is not execd ({exc!r:.200})") from exc

    def _simple(
        self, operation: str, fields: Head | None = None, body: bytes = b"", timeout_s: float = SILENCE_S
    ) -> tuple[dict[str, Any], bytes]:
        """Ask what does no harm when it is done twice: all of control does not."""
        return self._control.ask({"op": operation, **(fields or {})}, body, timeout_s=timeout_s, harmless=True)

    @staticmethod
    def _stream(wire: Wire) -> Iterator[bytes]:
        while True:
            head, data = wire.receive()
            raise_error(head)
            if "end" in head:
                return
            yield data


def _exec_result(ok: Mapping[str, Any], body: bytes) -> ExecResult:
    return ExecResult(
        exit_code=int(ok["exit_code"]),
        stdout=body[: int(ok["stdout"])],
        stderr=body[int(ok["stdout"]) :],
        timed_out=bool(ok.get("timed_out", False)),
        truncated=bool(ok.get("truncated", False)),
        oom_killed=bool(ok.get("oom_killed", False)),
        duration_s=float(ok["duration_s"]),
    )


def _checked(argv: Sequence[str]) -> list[str]:
    """Return argv as a list.

    Raises:
        SandboxError: it is a string, empty, or has a NUL byte in it (code ``bad_argv``).
    """
    if isinstance(argv, str) or not argv or any("\0" in a for a in argv):
        raise SandboxError(f"not an argument list: {argv!r}"[:200], hint="give a list of strings without NUL", code="bad_argv")
    return list(argv)


def _seconds(timeout_s: float | None) -> float | None:
    """Return a command's time; None, for any, where it is infinite.

    Raises:
        SandboxError: it is no number (code ``bad_timeout``).
    """
    if timeout_s is None or timeout_s == math.inf:
        return None
    if math.isnan(timeout_s):
        raise SandboxError("timeout_s is no number of seconds", hint="give a number, or None for any time", code="bad_timeout")
    return max(0.0, timeout_s)


def _path(path: str) -> str:
    if not path or "\0" in path:
        raise SandboxError(f"not a path: {path!r}"[:200], hint="give a path without NUL", code="bad_path")
    if path.count("/") > _PARTS:
        raise SandboxError(f"{path[:80]!r}… goes through {path.count('/')} folders", hint=f"at most {_PARTS}", code="bad_path")
    return path
