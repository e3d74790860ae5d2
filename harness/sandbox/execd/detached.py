"""Detached processes: each has a supervisor of its own that outlives the connection and writes what comes into a folder.

``<spool>/<id>/``: ``out`` and ``err`` grow; ``status`` appears, whole, when the process has ended; ``supervisor`` holds the
supervisor's pid and is locked by it as long as it lives. The spool lies where only root of the sandbox can look.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from typing import Any

from . import tree
from .command import Ending, Reaper, Supervision
from .deadline import Term
from .files import Refused
from .launcher import Launcher
from .settings import Settings
from .waiting_child import Order, SpawnFailed

# Kept of each stream; a training log is a hundredth of it. What comes later is dropped with a notice.
SPOOL_CAP = 32 * 1024 * 1024
# One answer of poll carries at most this much of each stream; the caller asks again from where it got to.
POLL_CAP = 1024 * 1024
_KILL_WAIT_S = tree.DEATH_WAIT_S + 5
_TICK_S = 0.01
# between claiming a folder and locking it lie two system calls
_START_S = 30.0


class SpoolFile:
    """Writes one stream to a file up to the cap; a full disk loses output, never the process."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._left = SPOOL_CAP

    def add(self, data: bytes) -> None:
        """Take the next piece."""
        if self._left <= 0:
            return
        with contextlib.suppress(OSError):
            os.write(self._file, data[: self._left])
        self._left -= len(data)
        if self._left <= 0:
            with contextlib.suppress(OSError):
                os.write(self._file, b"\n[... output beyond %d bytes is dropped ...]\n" % SPOOL_CAP)


def folder_of(settings: Settings, process: str) -> str:
    """Return a process's folder.

    Raises:
        Refused: there is no such process (code ``no_such_process``).
    """
    folder = f"{settings.spool}/{process}"
    if "/" in process or process.startswith(".") or not os.path.isdir(folder):
        raise Refused("no_such_process", f"there is no process {process!r}")
    return folder


def known(settings: Settings, name: str) -> bool:
    """Whether a process has this name."""
    return bool(name) and "/" not in name and os.path.isdir(f"{settings.spool}/{name}")


def claim(settings: Settings, name: str) -> tuple[str, bool]:
    """Return the process's id, and whether it is new: a known name belongs to the process that got it first."""
    if name and ("/" in name or name.startswith(".") or len(name) > 100):
        raise Refused("bad_name", f"{name!r} cannot be a process's name")
    process = name or os.urandom(6).hex()
    try:
        os.mkdir(f"{settings.spool}/{process}", 0o700)
    except FileExistsError:
        return process, False
    return process, True


def supervise(settings: Settings, reaper: Reaper, launcher: Launcher, process: str, order: Order, term: Term | None) -> None:
    """Run the process to its end, or to the deadline. The caller has answered its client already and ends afterwards."""
    folder = folder_of(settings, process)
    killed = False

    def on_terminate(number: int, frame: object) -> None:
        nonlocal killed
        killed = True

    def too_late() -> bool:
        return term is not None and term.ended

    signal.signal(signal.SIGTERM, on_terminate)
    # under its name it is never seen unlocked, or it would pass for a dead supervisor's
    lock = os.open(f"{folder}/supervisor.new", os.O_WRONLY | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.write(lock, str(os.getpid()).encode())
    os.rename(f"{folder}/supervisor.new", f"{folder}/supervisor")
    started = True
    sinks = (SpoolFile(f"{folder}/out"), SpoolFile(f"{folder}/err"))
    try:
        child = launcher.launch(order)
    except (SpawnFailed, OSError) as exc:
        exit_code = exc.exit_code if isinstance(exc, SpawnFailed) else 126
        sinks[1].add(f"{exc}\n".encode())
        ending, started = Ending(exit_code, False, 0, False), False
    else:
        ending = Supervision(settings, reaper, child, sinks).run(stop=lambda: killed or too_late())
    by_deadline = ending.exit_code != 0 and too_late()
    status = {"exit_code": ending.exit_code, "oom_killed": ending.oom_killed, "deadline": by_deadline, "started": started}
    _write_status(folder, status)


def _write_status(folder: str, status: dict[str, Any]) -> None:
    with open(f"{folder}/status.new", "w", encoding="ascii") as file:
        json.dump(status, file)
    os.rename(f"{folder}/status.new", f"{folder}/status")


def poll(settings: Settings, process: str, offsets: tuple[int, int], wait_s: float) -> tuple[dict[str, Any], bytes, bytes]:
    """Return state and output from the offsets on, at once if there is any or the process has ended, else after ``wait_s``."""
    folder = folder_of(settings, process)
    deadline = time.monotonic() + wait_s
    while True:
        status = _status(folder)  # before the output, or the last of it could be missed
        out, err = (_read(f"{folder}/{name}", offset) for name, offset in zip(("out", "err"), offsets, strict=True))
        if status is not None or out or err or time.monotonic() >= deadline:
            break
        time.sleep(_TICK_S)
    head = {
        "running": status is None,
        "exit_code": None,
        "oom_killed": False,
        "deadline": False,
        "started": True,
        **(status or {}),
    }
    return {**head, "stdout_offset": offsets[0] + len(out), "stderr_offset": offsets[1] + len(err)}, out, err


def _read(path: str, offset: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(POLL_CAP)
    except FileNotFoundError:
        return b""


def _status(folder: str) -> dict[str, Any] | None:
    """Return how the process ended, None while it runs. A supervisor that died before it could say is an ending too."""
    if (status := _read_status(folder)) is not None:
        return status
    if _supervisor_lives(folder):
        return None
    # it may have written its status between the two looks
    return _read_status(folder) or {"exit_code": 128 + signal.SIGKILL, "oom_killed": False}


def _read_status(folder: str) -> dict[str, Any] | None:
    try:
        with open(f"{folder}/status", encoding="ascii") as file:
            status: dict[str, Any] = json.load(file)
            return status
    except FileNotFoundError:
        return None


def _supervisor_lives(folder: str) -> bool:
    try:
        lock = os.open(f"{folder}/supervisor", os.O_RDONLY)
    except FileNotFoundError:
        # claimed and about to start, unless its worker was killed in between
        return time.time() - os.stat(folder).st_mtime < _START_S
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def kill(settings: Settings, process: str) -> None:
    """Kill a process with its tree and wait until it is dead.

    Raises:
        Refused: no such process, or it is still there after a while (code ``not_dead``).
    """
    folder = folder_of(settings, process)
    deadline = time.monotonic() + _KILL_WAIT_S
    while _status(folder) is None:
        with contextlib.suppress(FileNotFoundError, ValueError), open(f"{folder}/supervisor", encoding="ascii") as file:
            tree.send(int(file.read()), signal.SIGTERM)
        if time.monotonic() > deadline:
            raise Refused("not_dead", f"the process {process!r} did not die within {_KILL_WAIT_S:.0f} s")
        time.sleep(_TICK_S)
