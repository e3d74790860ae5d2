"""Side evaluations of what was sealed, after its grade. They change no score, and where they break the grade stands."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from harness.files import write_atomic
from harness.grading.engines import choose_engine
from harness.grading.side.measure import measure
from harness.grading.side.sets import choose
from harness.session.journal import Journal
from harness.session.sealed import check_sealed
from harness.session.site import RunSite
from harness.spec.errors import DojoError, StoreError, UsageError
from harness.spec.event import Failed, SideEvaluated


def side_sealed(site: RunSite, journal: Journal, names: tuple[str, ...], cache: Path) -> None:
    """Measure the sealed submission beside its base model, and append what was found to the newest grade.

    Every answer goes into the run's private folder.

    Raises:
        NotFoundError: there is no such side evaluation.
        UsageError: there is no grade, or nothing was handed in.
        SealBroken: what was sealed is missing or altered.
        GraderFailure: the grader broke.
    """
    record = journal.record
    chosen = choose(names, beside=site.assets.prepared.task.path)
    if not record.grades:
        raise UsageError(f"run {site.spec.id} has no grade", hint=f"dojo grade {site.spec.id}")
    if check_sealed(site.run, record) is None or record.grades[-1].engine is None:
        raise UsageError(f"run {site.spec.id} handed nothing in that could be measured", hint="`dojo show` says how it ended")
    generation, number = site.spec.generation, record.grades[-1].number
    found = measure(
        partial(site.examine, submission=site.run.sealed),
        chosen,
        site.assets.base_model,
        generation,
        site.run.sealed,
        cache,
        choose_engine(generation.engine, site.spec.limits.gpus, site.backend).name,
    )
    lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in found.lines)
    write_atomic(site.run.private / f"side-{number}.jsonl", lines.encode(errors="replace"), 0o600)
    journal.emit(SideEvaluated(grade=number, results=found.results))


def side_as_planned(site: RunSite, journal: Journal, cache: Path) -> None:
    """Run the side evaluations that the run was planned with, once for the newest grade; what breaks becomes an event."""
    grade = journal.record.grades[-1]
    if not site.spec.side or grade.side or grade.engine is None or site.spec.limit is not None:
        return
    try:
        side_sealed(site, journal, site.spec.side, cache)
    except StoreError:
        raise
    except DojoError as exc:
        journal.emit(Failed(where="side evaluations", **exc.as_dict()))
