"""The run's trajectory, written when it ends. It is a telling of what is on disk already: no run fails for it."""

from __future__ import annotations

from collections.abc import Iterator

from harness.export.atif import Story, write_trajectory
from harness.gateway.recording import Recording
from harness.session.journal import Journal
from harness.spec.event import Event, Failed
from harness.spec.outcome import Outcome
from harness.spec.run import RunSpec
from harness.store.run_dir import RunDir


class _Events:
    """What can be read of a run's events, from the file each time it is gone through."""

    def __init__(self, run: RunDir) -> None:
        self._run = run

    def __iter__(self) -> Iterator[Event]:
        return self._run.readable_events()


def story_of(spec: RunSpec, run: RunDir, outcome: Outcome | None) -> Story:
    """Return what a run's trajectory is made of: whatever can be read of its folder."""
    exchanges = Recording(run.talk).read() if run.talk.exists() else None
    return Story(spec, _Events(run), outcome, exchanges)


def tell(spec: RunSpec, journal: Journal, outcome: Outcome) -> int | None:
    """Write ``trajectory.json`` anew and return its steps. Where that fails, the one before stays and an event says why."""
    run = journal.run
    try:
        return write_trajectory(run.trajectory_path, story_of(spec, run, outcome))
    except Exception as exc:  # whatever it is, the run's end is worth more than its telling
        journal.emit(Failed(where="trajectory", message=f"{type(exc).__name__}: {exc}", hint=f"`dojo export {spec.id} atif`"))
        return None
