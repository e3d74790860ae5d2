"""One run's folder: its paths, its append-only events and the lock that says which process drives it."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.files import write_atomic
from harness.spec.errors import StoreError
from harness.spec.event import Event, Payload
from harness.spec.result import RunResult
from harness.spec.run import RunSpec


class RunDir:
    """Everything of one run on disk. Safe for several threads of the process that holds the lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events_path = path / "events.jsonl"
        self.result_path = path / "result.json"
        self.agent_dir = path / "agent"
        self.workspace = path / "workspace"
        self.submissions = path / "submissions"
        self.sealed = path / "sealed"
        self.manifest_path = path / "manifest.json"
        self.private = path / "private"
        self._lock = threading.Lock()
        self._next_seq: int | None = None

    @classmethod
    def create(cls, path: Path, spec: RunSpec) -> RunDir:
        """Make the folder of a new run and write ``run.json``."""
        run = cls(path)
        for folder in (path, run.submissions, run.private):
            folder.mkdir(parents=True, exist_ok=True)
        run.private.chmod(0o700)
        write_atomic(path / "run.json", spec.model_dump_json(indent=2).encode())
        return run

    def spec(self) -> RunSpec:
        """Read ``run.json``."""
        return RunSpec.model_validate_json(self._read(self.path / "run.json"))

    def result(self) -> RunResult | None:
        """Read ``result.json``, or None while the run has none."""
        return RunResult.model_validate_json(self.result_path.read_bytes()) if self.result_path.exists() else None

    def answers_path(self, grade: int) -> Path:
        """Return where the hidden split's prompts, responses and scores of a grade lie, a line an item."""
        return self.private / f"items-{grade}.jsonl"

    def write_result(self, result: RunResult) -> None:
        """Write ``result.json`` in one step."""
        write_atomic(self.result_path, result.model_dump_json(indent=2).encode())

    def append(self, payload: Payload, elapsed_s: float = 0.0) -> Event:
        """Append one event and flush it to disk: what is acknowledged is never lost."""
        with self._lock:
            if self._next_seq is None:
                self._mend_tail()
                self._next_seq = sum(1 for _ in self.events())
            event = Event(seq=self._next_seq, kind=payload.kind, data=payload, elapsed_s=round(elapsed_s, 3))
            line = event.model_dump_json().encode() + b"\n"
            try:
                with self.events_path.open("ab") as out:
                    out.write(line)
                    out.flush()
                    os.fsync(out.fileno())
            except OSError as exc:
                self._next_seq = None  # the line may be half there: count and mend again before the next one
                raise StoreError(
                    f"cannot append to {self.events_path}: {exc.strerror}", hint="free disk space, then `dojo resume`"
                ) from exc
            self._next_seq += 1
            return event

    def events(self, start: int = 0) -> Iterator[Event]:
        """Yield the events from number ``start`` on. A half-written last line (power cut) is not an event."""
        if not self.events_path.exists():
            return
        with self.events_path.open("rb") as source:
            for number, line in enumerate(source):
                if number >= start and line.endswith(b"\n"):
                    yield Event.model_validate_json(line)

    def _mend_tail(self) -> None:
        """Cut off a line that a crash left half written; nobody was told of it."""
        if not self.events_path.exists():
            return
        data = self.events_path.read_bytes()
        if data and not data.endswith(b"\n"):
            with self.events_path.open("r+b") as out:
                out.truncate(data.rfind(b"\n") + 1)

    @contextmanager
    def driving(self) -> Iterator[None]:
        """Hold the run's lock while driving it. The lock dies with the process, however it dies.

        Raises:
            StoreError: another live process drives this run (code ``busy``).
        """
        with (self.path / "lock").open("a+b") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                raise StoreError(
                    f"run {self.path.name} is driven by another dojo process",
                    hint="`dojo status` shows it; end that process first if it hangs",
                    code="busy",
                ) from exc
            yield

    def driven(self) -> bool:
        """Whether a live process holds the run's lock."""
        try:
            with self.driving():
                return False
        except StoreError:
            return True

    @staticmethod
    def _read(path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as exc:
            raise StoreError(f"cannot read {path}: {exc.strerror}", hint="was the results directory moved or removed?") from exc


EventListener = Callable[[str, Event], None]
