"""The run's trajectory, written when it ends. It is a telling of what is on disk already: no run fails for it."""

from __future__ import annotations

from harness.export.atif import Story, write_trajectory
from harness.gateway.recording import Recording
from harness.session.journal import Journal
from harness.spec.event import Failed
from harness.spec.outcome import Outcome
from harness.spec.run import RunSpec
from harness.store.run_dir import RunDir


def story_of(spec: RunSpec, run: RunDir, outcome: Outcome | None) -> Story:
    """Return what a run's trajectory is made of: whatever can be read of its folder."""
    exchanges = Recording(run.talk).read() if run.talk.exists() else None
    return Story(spec, run.readable_events(), outcome, exchanges)


def tell(spec: RunSpec, journal: Journal, outcome: Outcome) -> int | None:
    """Write ``trajectory.json`` anew and return its steps. Where that fails, the one before stays and an event says why."""
    run = journal.run
    try:
        return write_trajectory(run.trajectory_path, story_of(spec, run, outcome))
    except Exception as exc:  # whatever it is, the run's end is worth more than its telling
        journal.emit(Failed(where="trajectory", message=f"{type(exc).__name__}: {exc}", hint=f"`dojo export {spec.id} atif`"))
        return None
