"""What a client can ask of execd, by name. Two sockets: commands (inside the limits) and control (outside them)."""

from __future__ import annotations

import contextlib
import io
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from . import detached, files, tarballs, tree
from .agent_processes import AgentProcesses
from .command import ClientGone, Feed, Reaper, Supervision, oom_kills
from .deadline import Deadline, Term
from .files import Refused
from .identity import acting_as
from .launcher import Launcher
from .output import HeadTail
from .settings import Settings
from .syscalls import become_subreaper
from .waiting_child import Order, SpawnFailed
from .wire import CHUNK, Head, Wire, WireClosed

Operation = Callable[[Wire, Head, int], None]
# For what was killed to die, and for its parents to collect it.
_KILL_ALL_WAIT_S, _COLLECTING_WAIT_S = 10.0, 2.0


def _counted_cpu_s(counter: int) -> float:
    """Return the CPU seconds that a control group's file says (``cpu.stat`` or ``cpuacct.usage``), 0 without one."""
    if counter < 0:
        return 0.0
    first = os.pread(counter, 4096, 0).decode().split()
    return int(first[1]) / 1e6 if first[0] == "usage_usec" else int(first[0]) / 1e9


def describe_error(exc: Exception) -> Head:
    """Return an exception as the ``error`` of an answer."""
    if isinstance(exc, Refused):
        return {"error": {"kind": "refused", "code": exc.code, "message": str(exc)}}
    if isinstance(exc, OSError) and exc.errno is not None:
        path = exc.filename if isinstance(exc.filename, str) else ""
        return {"error": {"kind": "os", "errno": exc.errno, "message": exc.strerror or "", "path": path}}
    return {"error": {"kind": "refused", "code": "execd", "message": f"{type(exc).__name__}: {exc}"}}


def answer_requests(wire: Wire, operations: dict[str, Operation], after_each: Callable[[], None] = lambda: None) -> None:
    """Serve one connection until it closes."""
    while True:
        head, size = wire.receive_head()
        operation = operations.get(str(head.get("op")))
        if operation is None:
            wire.skip(size)
            wire.send({"error": {"kind": "refused", "code": "unknown_operation", "message": f"no operation {head.get('op')!r}"}})
            continue
        try:
            operation(wire, head, size)
        except (WireClosed, ClientGone):
            return
        except Exception as exc:
            wire.send(describe_error(exc))
        after_each()


def _refused_late() -> Refused:
    return Refused("deadline", "the sandbox's deadline is over: nothing of the agent is started until it is moved or taken back")


class CommandWorker:
    """Runs commands of one connection, one after the other. Lives inside the sandbox's limits."""

    def __init__(self, settings: Settings, deadline: Deadline) -> None:
        become_subreaper()
        self._settings = settings
        self._deadline = deadline
        self._reaper = Reaper()
        self._launcher = Launcher(settings)

    def work(self, wire: Wire) -> None:
        """Serve one connection."""
        self._launcher.make_ready()
        answer_requests(wire, {"exec": self._exec, "start": self._start}, self._launcher.make_ready)

    def _order(self, head: Head) -> Order:
        settings = self._settings
        env = {**settings.env, **head.get("env", {})}
        if head["user"] == "root":
            env = {**env, "USER": "root", "LOGNAME": "root"}
        return Order(
            argv=[settings.real_text(a) for a in head["argv"]],
            cwd=settings.real_path(head.get("cwd") or settings.workspace),
            env={name: settings.real_text(value) for name, value in env.items()},
            user=head["user"],
        )

    def _too_late(self, head: Head) -> bool:
        return head["user"] == "agent" and self._deadline.over

    def _exec(self, wire: Wire, head: Head, size: int) -> None:
        started = time.monotonic()
        if self._too_late(head):
            wire.skip(size)
            raise _refused_late()
        feed = Feed(wire, size)
        deadline = None if head.get("timeout_s") is None else started + head["timeout_s"]
        out, err = HeadTail(head["output_cap"]), HeadTail(head["output_cap"])
        try:
            child = self._launcher.launch(self._order(head))
        except (SpawnFailed, OSError, ValueError) as exc:
            feed.finish()
            exit_code = exc.exit_code if isinstance(exc, SpawnFailed) else 126
            self._answer(wire, {"exit_code": exit_code, "duration_s": time.monotonic() - started}, b"", f"{exc}\n".encode())
            return
        ending = Supervision(self._settings, self._reaper, child, (out, err), deadline).run(feed, lambda: self._too_late(head))
        feed.finish()
        stderr = err.value()
        if ending.survivors:
            stderr += f"\nexecd: {ending.survivors} processes did not die of SIGKILL in time\n".encode()
        result = {
            "exit_code": ending.exit_code,
            "timed_out": ending.timed_out,
            "truncated": out.truncated or err.truncated,
            "oom_killed": ending.oom_killed,
            "duration_s": time.monotonic() - started,
        }
        self._answer(wire, result, out.value(), stderr)

    @staticmethod
    def _answer(wire: Wire, result: dict[str, Any], stdout: bytes, stderr: bytes) -> None:
        wire.send({"ok": {**result, "stdout": len(stdout)}}, stdout, stderr)

    def _start(self, wire: Wire, head: Head, size: int) -> None:
        wire.skip(size)
        name = head.get("name", "")
        if self._too_late(head) and not detached.known(self._settings, name):
            raise _refused_late()
        term = Term(self._deadline) if head["user"] == "agent" else None  # before anybody can know of the process
        process, new = detached.claim(self._settings, name)
        if not new:
            wire.send({"ok": {"process": process}})
            return
        # from here on this worker is the process's supervisor, and the connection's end is none of its business
        with contextlib.suppress(WireClosed):
            wire.send({"ok": {"process": process}})
        wire.close()
        self._launcher.close()
        detached.supervise(self._settings, self._reaper, self._launcher, process, self._order(head), term)
        raise WireClosed("ended")


class ControlWorker:
    """Everything but running commands. Lives outside the sandbox's limits, so that it works when they are reached."""

    def __init__(self, settings: Settings, command_service: int, deadline: Deadline) -> None:
        self._settings = settings
        self._command_service = command_service
        self._deadline = deadline
        self._agent = AgentProcesses(settings, command_service)

    def work(self, wire: Wire) -> None:
        """Serve one connection."""
        operations: dict[str, Operation] = {
            "ping": self._ping,
            "usage": self._usage,
            "poll": self._poll,
            "kill": self._kill,
            "kill_all": self._kill_all,
            "deadline": self._set_deadline,
            "read": self._read,
            "write": self._write,
            "archive": self._archive,
            "extract": self._extract,
        }
        answer_requests(wire, operations)

    def _ping(self, wire: Wire, head: Head, size: int) -> None:
        wire.send({"ok": {"mode": self._settings.mode}})

    def _usage(self, wire: Wire, head: Head, size: int) -> None:
        inside = tree.descendants(self._command_service)
        wire.send(
            {
                "ok": {
                    "disk_bytes": _disk_bytes(self._settings),
                    "processes": len(self._agent.running()),
                    "cpu_s": _counted_cpu_s(self._settings.cpu_counter) or tree.cpu_seconds([self._command_service, *inside]),
                    "oom_kills": oom_kills(self._settings),
                    "memory_bytes": sum(_resident(pid) for pid in inside),
                }
            }
        )

    def _poll(self, wire: Wire, head: Head, size: int) -> None:
        offsets = (head["stdout_offset"], head["stderr_offset"])
        state, out, err = detached.poll(self._settings, head["process"], offsets, head["wait_s"])
        wire.send({"ok": {**state, "stdout": len(out)}}, out, err)

    def _kill(self, wire: Wire, head: Head, size: int) -> None:
        detached.kill(self._settings, head["process"])
        wire.send({"ok": {}})

    def _kill_all(self, wire: Wire, head: Head, size: int) -> None:
        give_up, rounds = time.monotonic() + _KILL_ALL_WAIT_S, 0
        while (left := self._agent.kill(rounds)) and time.monotonic() < give_up:
            rounds += 1
            time.sleep(0.002)
        give_up = time.monotonic() + _COLLECTING_WAIT_S
        while self._agent.uncollected() and time.monotonic() < give_up:
            time.sleep(0.002)
        wire.send({"ok": {"survivors": len(left)}})

    def _set_deadline(self, wire: Wire, head: Head, size: int) -> None:
        seconds = head["seconds"]
        if seconds is not None and not (isinstance(seconds, int | float) and math.isfinite(seconds)):
            raise Refused("bad_deadline", f"{seconds!r} is no number of seconds")
        self._deadline.set(seconds)
        wire.send({"ok": {}})

    def _closed(self, head: Head, *, writing: bool) -> files.Places:
        """Return what is closed to the user of a file call; root is the harness."""
        return frozenset() if head["user"] == "root" else files.closed_places(self._settings, writing=writing)

    def _read(self, wire: Wire, head: Head, size: int) -> None:
        path, closed = self._settings.real_path(head["path"]), self._closed(head, writing=False)
        with acting_as(self._settings, head["user"]):
            descriptor = files.open_regular(path, closed)
        try:
            files.send_file(descriptor, path, head["max_bytes"], wire)
        finally:
            os.close(descriptor)
        wire.send({"end": True})

    def _write(self, wire: Wire, head: Head, size: int) -> None:
        path, closed = self._settings.real_path(head["path"]), self._closed(head, writing=True)
        left = size
        try:
            # written with the user's rights too, or root's share of the disk would be open to the user
            with acting_as(self._settings, head["user"]):
                descriptor = files.create_file(path, head["mode"], closed)
                try:
                    while left:
                        data = wire.read_some(left)
                        left -= len(data)
                        files.write_all(descriptor, data)
                finally:
                    os.close(descriptor)
        finally:
            wire.skip(left)
        wire.send({"ok": {}})

    def _archive(self, wire: Wire, head: Head, size: int) -> None:
        path, closed = self._settings.real_path(head["path"]), self._closed(head, writing=False)
        room = None if head.get("room") is None else _room(*head["room"])
        with acting_as(self._settings, head["user"]):
            files.require_open(path, closed)
            tarballs.write_archive(path, _FrameWriter(wire), room, head.get("whole", True))
        wire.send({"end": True})

    def _extract(self, wire: Wire, head: Head, size: int) -> None:
        source = _FrameReader(wire)
        failure: Exception | None = None
        try:
            path, closed = self._settings.real_path(head["path"]), self._closed(head, writing=True)
            with acting_as(self._settings, head["user"]):
                files.require_open(path, closed)
                tarballs.read_archive(path, io.BufferedReader(source, CHUNK))
        except WireClosed:
            raise
        except Exception as exc:
            failure = exc
        source.finish()
        wire.send({"ok": {}} if failure is None else describe_error(failure))


def _room(file_bytes: int, total_bytes: int, without: Sequence[str] = ()) -> tarballs.Room:
    return tarballs.Room(file_bytes, total_bytes, tuple(without))


class _FrameWriter(io.RawIOBase):
    """Sends what is written as frames of a stream."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._wire.send({}, view)
        return len(view)


class _FrameReader(io.RawIOBase):
    """Reads the bodies of a stream's frames until its end."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._left = 0
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left and not self._ended:
            head, self._left = self._wire.receive_head()
            self._ended = "end" in head
        if not self._left:
            return 0
        data = self._wire.read_some(min(self._left, len(buffer)))
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)

    def finish(self) -> None:
        """Read on to the stream's end."""
        self._wire.skip(self._left)
        while not self._ended:
            head, size = self._wire.receive_head()
            self._wire.skip(size)
            self._ended = "end" in head


def _disk_bytes(settings: Settings) -> int:
    """Return what is in use on the sandbox's disk; without one of its own, what lies in the workspace."""
    if settings.mode != "open":
        disk = os.statvfs(settings.workspace)
        return (disk.f_blocks - disk.f_bfree) * disk.f_frsize
    total = 0
    for folder, _, names in os.walk(settings.workspace):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total


def _resident(pid: int) -> int:
    fields = tree.stat_fields(pid)
    return int(fields[21]) * os.sysconf("SC_PAGESIZE") if fields else 0
