"""A process that trains, watched from outside: an event a line comes out of it, and silence, death or delay ends it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Kinds of failure after which the process is no longer there.
GONE = frozenset({"crashed", "stalled", "overran", "lost"})

OnStep = Callable[[dict[str, Any]], None]


class TrainingFailed(Exception):
    """A job came to nothing.

    ``kind``: crashed, stalled, overran, lost (an error that left nothing to go on with), memory, nan, diverged or error.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Child:
    """One process and its events.

    Args:
        argv: its command line.
        env: its environment.
        log: file that its other output goes to.
        group: whether it starts processes of its own; they end with it.
    """

    def __init__(self, argv: Sequence[str], env: dict[str, str], log: Path, *, group: bool = False) -> None:
        self.group = group
        with log.open("a") as output:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                env=env,
                start_new_session=group,
            )
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=_pump, args=(self.process, self._events), daemon=True).start()

    def send(self, job: dict[str, Any]) -> None:
        """Give it a job.

        Raises:
            TrainingFailed: it is gone.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
        except OSError as exc:
            raise TrainingFailed("crashed", f"the training process is gone: {exc}") from exc

    def wait(
        self, wanted: str, limit_s: float, stall_s: Callable[[], float], *, busy: bool = False, on_step: OnStep | None = None
    ) -> dict[str, Any]:
        """Wait for an event.

        Args:
            wanted: its name.
            limit_s: seconds of wall time in all.
            stall_s: seconds of silence that are a hang.
            busy: whether silence counts only while it uses no processor time; on a machine under load a step may take long.
            on_step: is told of every step on the way.

        Raises:
            TrainingFailed: a failure was reported, or the process died, hung or overran.
        """
        deadline, heard = time.monotonic() + limit_s, time.monotonic()
        # processor time when it last spoke, and when it was last looked at
        spoke = looked = self.processor_seconds()
        while True:
            quiet_until = heard + stall_s()
            try:
                event = self._events.get(timeout=max(0.01, min(quiet_until, deadline) - time.monotonic()))
            except queue.Empty:
                if time.monotonic() >= deadline:
                    raise TrainingFailed("overran", "the training process gave no end in time") from None
                now = self.processor_seconds()
                if busy and looked < now < spoke + stall_s() * (os.cpu_count() or 1):
                    # at work, only slowly; a loop without end is found out by what it has used since it spoke
                    heard, looked = time.monotonic(), now
                    continue
                if time.monotonic() < heard + stall_s():
                    continue
                raise TrainingFailed("stalled", "the training process gave no sign of life in time") from None
            heard = time.monotonic()
            spoke = looked = self.processor_seconds() if busy else 0.0
            if event is None:
                code = self.process.wait()
                hint = "; perhaps memory ran out, halve per_device_train_batch_size" if code == -signal.SIGKILL else ""
                raise TrainingFailed(
                    "crashed", f"the training process died with exit code {code}; its output is in worker.log{hint}"
                )
            if event["event"] == "failed":
                raise TrainingFailed(str(event.get("kind", "error")), str(event["message"]))
            if event["event"] == wanted:
                return event
            if event["event"] == "step" and on_step:
                on_step(event)

    def processor_seconds(self) -> float:
        """Return the processor time used so far, by its own processes too; 0 where the system does not tell."""
        own = str(self.process.pid)
        numbers = (
            [d.name for d in Path("/proc").iterdir() if d.name.isdigit()] if self.group and Path("/proc").exists() else [own]
        )
        ticks = 0
        for number in numbers:
            try:
                # after the name in brackets: state, parent, group, … and user and system time as the 12th and 13th
                fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            except (OSError, ValueError):
                continue
            if number == own or fields[2] == own:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End it, and what it has started."""
        if self.group:
            # they may have ended all by themselves
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()


def _pump(process: subprocess.Popen[str], events: queue.Queue[dict[str, Any] | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        events.put(json.loads(line))
    events.put(None)
