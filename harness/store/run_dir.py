"""One run's folder: its paths, its append-only events and the lock that says which process drives it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from harness.files import write_atomic
from harness.spec.errors import StoreError
from harness.spec.event import Event, Payload
from harness.spec.result import RunResult
from harness.spec.run import RunSpec
from harness.spec.toml import describe

T = TypeVar("T", bound=BaseModel)
# Looked through at a time for the end of the last whole event.
_TAIL = 64 * 1024


class RunDir:
    """Everything of one run on disk. Safe for several threads of the process that holds the lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events_path = path / "events.jsonl"
        self.result_path = path / "result.json"
        self.trajectory_path = path / "trajectory.json"
        self.shell_log = path / "shell.log"
        self.agent_dir = path / "agent"
        self.kept = path / "workspace.zip"
        self.submissions = path / "submissions"
        self.sealed = path / "sealed"
        self.manifest_path = path / "manifest.json"
        self.private = path / "private"
        self.talk = self.private / "llm"
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
        """Read ``run.json``.

        Raises:
            StoreError: it is missing or cannot be read (code ``damaged``).
        """
        path = self.path / "run.json"
        found = self._parse(path, RunSpec)
        if found is None:
            gone = f"{path} is missing" if self.path.is_dir() else f"the folder {self.path} is gone"
            raise damaged(gone, "bring it back from a backup, or take the run out of the lists with `dojo rm`")
        return found

    def result(self) -> RunResult | None:
        """Read ``result.json``, or None while the run has none.

        Raises:
            StoreError: it cannot be read (code ``damaged``).
        """
        return self._parse(self.result_path, RunResult)

    def set_talk_aside(self, attempt: int) -> None:
        """Keep what an attempt said to its backbone beside what the next one will say."""
        if self.talk.exists():
            self.talk.rename(self.private / f"llm-{attempt}")

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
        """Yield the events from number ``start`` on. A half-written last line (power cut) is not an event.

        Raises:
            StoreError: the file, or a line in the middle of it, cannot be read (code ``damaged``).
        """
        for number, line in self._lines(start):
            try:
                found = Event.model_validate_json(line)
            except ValidationError as exc:
                raise self._bad_line(number, describe(exc)) from exc
            if found.seq != number:
                raise self._bad_line(number, f"it is event {found.seq}, so lines are missing or doubled")
            yield found

    def readable_events(self) -> Iterator[Event]:
        """Yield the events that can be read, whatever lies between them: for saying where a damaged run stood, not to go on."""
        try:
            for _number, line in self._lines(0):
                with contextlib.suppress(ValidationError):
                    yield Event.model_validate_json(line)
        except StoreError:
            return

    def _lines(self, start: int) -> Iterator[tuple[int, bytes]]:
        try:
            with self.events_path.open("rb") as source:
                for number, line in enumerate(source):
                    if number >= start and line.endswith(b"\n"):
                        yield number, line
        except FileNotFoundError:
            return
        except OSError as exc:
            raise damaged(f"cannot read {self.events_path}: {exc.strerror}", "check the permissions of the run's folder") from exc

    def _bad_line(self, number: int, why: str) -> StoreError:
        return damaged(
            f"{self.events_path} is damaged in line {number + 1}: {why}",
            "bring the file back from a backup; the run cannot go on without it, its result.json stays readable",
        )

    def _mend_tail(self) -> None:
        """Cut off a line that a crash left half written; nobody was told of it."""
        if not self.events_path.exists():
            return
        with self.events_path.open("r+b") as file:
            end = file.seek(0, os.SEEK_END)
            while end:
                start = max(0, end - _TAIL)
                file.seek(start)
                whole = file.read(end - start).rfind(b"\n") + 1
                if whole or not start:
                    end = start + whole
                    break
                end = start
            file.truncate(end)

    @staticmethod
    def _parse(path: Path, model: type[T]) -> T | None:
        try:
            return model.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise damaged(f"cannot read {path}: {exc.strerror}", "check the permissions of the run's folder") from exc
        except ValidationError as exc:
            raise damaged(f"{path} is damaged: {describe(exc, model)}", "bring it back from a backup") from exc


def damaged(message: str, hint: str) -> StoreError:
    """Return the error for a file of a run that cannot be read."""
    return StoreError(message, hint=hint, code="damaged")


EventListener = Callable[[str, Event], None]
