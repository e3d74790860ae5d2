"""What a run's agent did and said: its trajectory for other tools, its talk with its backbone for people."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from harness.service.bench import Bench
from harness.spec.base import Spec
from harness.spec.errors import StoreError, UsageError
from harness.spec.event import Entered, Event, LlmCalled, LlmRefused
from harness.spec.outcome import RunState

if TYPE_CHECKING:
    from harness.export.llm_log import LlmLine
    from harness.store.run_dir import RunDir

# The folder is polled: another process writes it.
_POLL_S = 0.3
# A call's recording may come a moment after its line in the ledger; one that is this many calls late was never written.
_LATE = 8


class Exported(Spec):
    """A run that was written out."""

    run: str
    format: str
    path: Path
    bytes: int = Field(0, description="of the file")
    steps: int | None = Field(None, description="atif: of the trajectory, side conversations left out")
    valid: bool | None = Field(None, description="atif: held against ATIF's own models; None: it was not asked for")
    commands: int | None = Field(None, description="replay: that will be run again")
    unplayable: int | None = Field(None, description="replay: that were not recorded whole, or in a way nobody can run again")


class Trajectories(Bench):
    """Telling runs."""

    def export(self, reference: str, format: str = "atif", out: Path | None = None, *, validate: bool = False) -> Exported:
        """Write a run out for others: its trajectory, or an agent that does again what its agent did.

        Both are made anew from the run's events and its recording; a run that goes on is told as far as it is.

        Args:
            reference: the run.
            format: ``atif`` (a file), or ``replay`` (an agent's directory).
            out: where; default for ``atif`` is ``trajectory.json`` in the run's folder.
            validate: hold a trajectory against ATIF's own models.

        Raises:
            UsageError: no such format, or ``out`` cannot be what it has to be.
            MissingError: ``validate`` without the extra ``atif``.
            StoreError: it cannot be written.
        """
        run = self.store.resolve(reference, "run")
        if format == "atif":
            return self._export_atif(run, out or self.store.files(run).trajectory_path, validate)
        if format == "replay":
            if out is None:
                raise UsageError("an agent's directory needs a name", hint=f"dojo export {run} replay --out agents/again")
            return self._export_replay(run, out)
        raise UsageError(f"there is no format {format!r} to export runs in", hint="atif or replay")

    def _export_atif(self, run: str, target: Path, validate: bool) -> Exported:
        from harness.export.checking import check_trajectory

        if target.is_dir() or not target.parent.is_dir():
            raise UsageError(f"{target} cannot be written as a file", hint="give --out a file in a folder that exists")
        steps = self._tell(run, target)
        if validate:
            check_trajectory(target)
        size = target.stat().st_size
        return Exported(run=run, format="atif", path=target, bytes=size, steps=steps, valid=True if validate else None)

    def _tell(self, run: str, target: Path) -> int:
        from harness.export.atif import write_trajectory
        from harness.session.record import fold
        from harness.session.story import story_of

        files = self.store.files(run)
        try:
            return write_trajectory(target, story_of(files.spec(), files, fold(files.readable_events()).outcome))
        except OSError as exc:
            raise StoreError(
                f"cannot write {target}: {exc.strerror or exc}", hint="free disk space, or give another --out"
            ) from exc

    def _export_replay(self, run: str, target: Path) -> Exported:
        with tempfile.TemporaryDirectory() as folder:
            told = Path(folder) / "trajectory.json"
            self._tell(run, told)
            return write_replay(run, told.read_bytes(), target, self.agent("replay").path)

    def talk(self, reference: str, follow: bool = False, stop: threading.Event | None = None) -> Iterator[LlmLine]:
        """Yield the calls of a run's agent to its backbone; with ``follow`` until the run ends.

        Raises:
            UsageError: the run has no backbone.
        """
        reader, stop = self.talk_of(reference), stop or threading.Event()
        while True:
            yield from reader.read(whole=not follow or stop.is_set())
            if not follow or reader.ended or stop.wait(_POLL_S):
                return

    def talk_of(self, reference: str) -> Talk:
        """Return what reads a run's talk piece by piece; raises as `talk`."""
        run = self.store.resolve(reference, "run")
        files = self.store.files(run)
        if files.spec().backbone is None:
            raise UsageError(
                f"run {run} has no backbone, so there is no talk", hint=f"`dojo logs {run}` shows what its agent did"
            )
        return Talk(files)


def write_replay(run: str, trajectory: bytes, target: Path, template: Path) -> Exported:
    """Make the directory ``target`` of an agent that does again what a trajectory tells.

    Args:
        run: whose trajectory it is.
        trajectory: ATIF.
        target: a new folder.
        template: the directory of the agent `replay`.

    Raises:
        UsageError: there is something at ``target``, or nothing to do again.
    """
    from harness.export.commands import commands_of
    from harness.export.replay import write_agent

    if target.exists() or not target.parent.is_dir():
        raise UsageError(f"{target} cannot be made as a directory", hint="give --out a new name in a folder that exists")
    commands = commands_of(json.loads(trajectory))
    playable = sum(command.kind != "unplayable" for command in commands)
    if not playable:
        raise UsageError(
            f"no command of run {run} was recorded that could be run again",
            hint="what an agent's own program did inside the sandbox, without the agent API or a backbone, nobody sees",
        )
    write_agent(target, template, commands, run)
    unplayable = len(commands) - playable
    return Exported(run=run, format="replay", path=target, commands=playable, unplayable=unplayable)


class Talk:
    """A run's talk with its backbone, told as it becomes known.

    Attributes:
        ended: the run had ended when it was read last.
    """

    def __init__(self, files: RunDir) -> None:
        from harness.export.llm_log import LlmLog

        self.ended = False
        self._files, self._log, self._seen = files, LlmLog(), 0
        self._called: dict[int, Event] = {}

    def read(self, whole: bool = False) -> Iterator[LlmLine]:
        """Yield the calls that became known since; with ``whole`` also those whose recording has not come yet."""
        from harness.export.llm_log import LlmLog, refused
        from harness.gateway.recording import Recording

        news = False
        for event in self._files.events(self._seen):
            self._seen = event.seq + 1
            match event.data:
                case LlmCalled(call=number):
                    self._called[number], news = event, True
                case LlmRefused():
                    yield refused(event)
                case Entered(state=RunState.QUEUED):
                    self._log, self._called = LlmLog(), {}  # another attempt, whose calls are counted anew
                case Entered(state=state):
                    self.ended = state.final
        if news and self._files.talk.exists():
            yield from self._log.recorded(Recording(self._files.talk).read(without=self._log.told), self._called)
        last = max(self._called, default=0)
        late = {number: event for number, event in self._called.items() if whole or self.ended or number <= last - _LATE}
        yield from self._log.unrecorded(late)
