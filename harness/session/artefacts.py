"""A run and the place where artefacts are kept: put there when it has ended, fetched when it is graded again."""

from __future__ import annotations

import logging

from harness.session.journal import Journal
from harness.session.record import RunRecord
from harness.spec.errors import DojoError
from harness.spec.event import Failed
from harness.store.artefacts.dropped import dropped_parts
from harness.store.artefacts.place import open_place
from harness.store.artefacts.pull import bring_parts
from harness.store.artefacts.push import push_run
from harness.store.run_dir import RunDir

WHERE = "artefacts"
"""What the event says that a run could not be put there."""


def put_away(url: str, journal: Journal) -> None:
    """Put a run that has ended there. What fails is an event: how the run ended stands, whatever comes of this."""
    if not url:
        return
    run = journal.run
    try:
        push_run(open_place(url), run)
    except Exception as exc:
        message, code = (exc.message, exc.code) if isinstance(exc, DojoError) else (f"{type(exc).__name__}: {exc}", "internal")
        hint = f"the run has ended all the same; `dojo artefacts push {run.path.name}` does it again"
        try:
            journal.emit(Failed(where=WHERE, message=message, code=code, hint=hint))
        except DojoError as other:
            logging.getLogger(__name__).warning("run %s: %s; %s", run.path.name, message, other.message)


def bring_back(url: str, run: RunDir, record: RunRecord) -> None:
    """Fetch what of a run is not here and grading needs, where a place is named; what is sealed is checked afterwards as ever.

    Raises:
        MissingError: what was dropped here lies in a place, and none is named or it does not answer.
        StoreError: it is not in the place as it was put there.
    """
    parts = dropped_parts(run)
    if url and record.sealed is not None and not run.sealed.is_dir():
        parts = tuple(dict.fromkeys([*parts, run.sealed.name]))
    if parts:
        bring_parts(open_place(url), run, run.spec().batch, parts)
